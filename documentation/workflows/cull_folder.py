"""The best pictures of a folder, copied to a new one, without a download."""

from ..workflow import Group, Node, Note, Shot, Workflow

pictures = Node("IQAQuickstartTrainingPictures", "Pictures to choose from", count=40, clean=0.3)
judge = Node("IQAModelLoader", metric="quickstart_iqa")
best = Node(
    "IQACullFolder",
    iqa_model=judge["iqa_model"],
    pictures=pictures["pictures"],
    keep="best share",
    share=0.3,
    action="copy",
    protocol="64",
    name="best",
).sized(420, 760)
sheet = Node("SaveImage", "Save the contact sheet", images=best["contact_sheet"], filename_prefix="cull_folder")

WORKFLOW = Workflow(
    Group(
        "1  Pictures and judge",
        [
            Note("Press **Run**. For your own pictures, write their folder into *Cull Folder*.", "Step 1"),
            pictures.sized(340, 400),
        ],
        [judge],
    ),
    Group(
        "2  Keep the best",
        [Note("The best 30 % go to `output/iqa_culled/`. Nothing is moved or deleted.", "Step 2"), best],
    ),
    Group("3  Look", [sheet.sized(720, 760)]),
    thumbnail=(Shot("Save the contact sheet"),),
)
