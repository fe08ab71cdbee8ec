"""What the two training workflows share."""

from ..workflow import Group, Node, Note, Shot, Workflow

SETTINGS = """projection: mlp
gradient_clip: 1
sample_steps: 12
sample_cfg: 3
sample_prompts: [a dotted pink ring on teal stripes, a plain yellow star on navy fabric]"""


def training(kind: str, adapter: str, scoring: str, template: str, samples: str, **pictures_inputs) -> Workflow:
    """A workflow that trains.

    Args:
        kind: ``"scores"`` or ``"activations"``.
        adapter: its name, without ``my_`` and ``_adapter``.
        scoring: what step 2 does, in words.
        template: the workflow in which to try the adapter.
        samples: what the samples show, in words.
        pictures_inputs: further inputs of the training pictures.
    """
    pictures = Node("IQAQuickstartTrainingPictures", **pictures_inputs)
    judge = Node("IQAModelLoader", metric="quickstart_iqa")
    table = Node(
        "IQAScoreDataset",
        pictures=pictures["pictures"],
        iqa_model=judge["iqa_model"],
        kind=kind,
        name=f"quickstart_{kind}",
    )
    model = Node("IQAQuickstartModel")
    train = Node(
        "IQAAdapterTrain",
        model=model["MODEL"],
        clip=model["CLIP"],
        vae=model["VAE"],
        pictures=table["pictures"],
        table=table["table"],
        name=f"my_{adapter}_adapter",
        steps=100,
        batch_size=8,
        learning_rate=0.003,
        sample_interval=50,
        settings=SETTINGS,
    )
    save = Node("SaveImage", "Save the samples", images=train["samples"], filename_prefix=f"train_{adapter}_adapter")
    return Workflow(
        Group(
            "1  Pictures to learn from",
            [
                Note(
                    "120 small pictures, good and bad. For your own: unlink *pictures*, choose its *folder*.", "Step 1"
                ),
                pictures.sized(340, 260),
            ],
            [Note(scoring, "Step 2"), judge, table],
        ),
        Group(
            "2  Train",
            [
                Note("About a minute on two cores. Cancel when you like: queue again, and it goes on.", "Step 3"),
                model.sized(340, 200),
                Note("*Load Checkpoint* here, some thousand steps, *learning_rate* 0.0001.", "Your own checkpoint"),
            ],
            [train.sized(420, 900)],
        ),
        Group(
            "3  See what it learnt",
            [
                save.sized(440, 560),
                Note(samples, "Step 4"),
                Note(f"Press R; **my_{adapter}_adapter** is in the lists. Try it in *{template}*.", "Use it"),
            ],
        ),
        thumbnail=(Shot("Save the samples"),),
    )
