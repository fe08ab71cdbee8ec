// The server's history. Knows nothing of the front end.

/**
 * The newest run of a workflow, null if there is none.
 *
 * @param history answer of the server to /history: entries by the id of their run.
 * @param id of the workflow.
 * @param before runs that began later are left out; milliseconds since 1970.
 */
export function newestRun(history, id, before) {
  const runs = Object.values(history).filter(
    (run) => run.prompt[3]?.extra_pnginfo?.workflow?.id === id && began(run) < before,
  );
  return runs.reduce((newest, run) => (newest && began(newest) >= began(run) ? newest : run), null);
}

function began(run) {
  const [, said] = run.status?.messages?.find(([what]) => what === "execution_start") ?? [];
  return said?.timestamp ?? 0;
}
