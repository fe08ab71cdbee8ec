// The server's history. Knows nothing of the front end.

/**
 * The newest run of a workflow, null if there is none.
 *
 * @param history answer of the server to /history: entries by the id of their run.
 * @param id of the workflow.
 */
export function newestRun(history, id) {
  const runs = Object.values(history).filter((run) => id && run.prompt[3]?.extra_pnginfo?.workflow?.id === id);
  return runs.reduce((newest, run) => (newest && began(newest) >= began(run) ? newest : run), null);
}

function began(run) {
  const [, said] = run.status?.messages?.find(([what]) => what === "execution_start") ?? [];
  return said?.timestamp ?? 0;
}
