"""Name the public API: each page of the reference, and what it documents, in order.

This is the only place in `docs/` that names modules of the package. A page `reference/NAME.md`
shows its names where it says `{{ api }}`. A class with `()` after it is shown without its
arguments, because it is not made by hand.
"""

PAGES: dict[str, dict[str, list[str]]] = {
    "environment": {
        "kernel_env": ["make", "KernelEnv()"],
    },
    "episode": {
        "kernel_env": ["open_episode", "Episode()", "EpisodeConfig", "Pool"],
    },
    "actions": {
        "kernel_env": [
            "Action",
            "RequestInfo",
            "ValidateCode",
            "ExecuteCode",
            "GetHistory",
            "Reset",
        ],
        "kernel_env.tasks.info": ["InfoType"],
    },
    "observation": {
        "kernel_env": ["Observation"],
        "kernel_env.grading.protocol": ["Feedback", "Counts"],
    },
    "budget": {
        "kernel_env": ["Budget"],
        "kernel_env.episode.budget": ["Spent"],
    },
    "steps": {
        "kernel_env": ["Step"],
        "kernel_env.episode.step": [
            "InfoShown",
            "CellExecuted",
            "CodeValidated",
            "KernelReset",
            "Graded",
            "Rejected",
        ],
        "kernel_env.kernel.cell": [
            "Cell",
            "CellError",
            "Output",
            "Variable",
            "FileChange",
            "Recovery",
        ],
    },
    "results": {
        "kernel_env": ["EpisodeResult"],
        "kernel_env.episode.result": ["Usage", "result_of"],
        "kernel_env.episode.trajectory": [
            "Trajectory",
            "Header",
            "Ending",
            "Fork",
            "EarlierHeader",
            "Status",
            "Note",
            "NoteKind",
        ],
        "kernel_env.episode.reading": ["read_trajectory"],
        "kernel_env.episode.journal": ["read_journal"],
        "kernel_env.episode.notebook": ["render", "write_notebook"],
        "kernel_env.episode.notebook_parser": ["read_notebook", "parse_notebook"],
        "kernel_env.episode.chain": ["Difference", "first_difference"],
        "kernel_env.episode.tree_page": ["write_tree"],
    },
    "verification": {
        "kernel_env.audit.trajectory": ["read_recording", "Recording()", "verify", "Options"],
        "kernel_env.audit.trajectory.verdict": [
            "Verification",
            "Verdict",
            "Tampering",
            "Setting",
            "StepComparison",
            "SubmissionComparison",
            "ScoreComparison",
            "Planned",
            "Signature",
        ],
        "kernel_env.audit.trajectory.outputs": ["Sameness", "Difference"],
    },
    "grading": {
        "kernel_env.grading.grade": ["Grade", "Place"],
        "kernel_env.grading.reward": [
            *("Reward", "progress", "final", "position", "raw", "improvement", "human_rank"),
        ],
        "kernel_env.grading.protocol": ["Protocol", "Shown"],
        "kernel_env.grading.metric": ["Metric", "Score", "CellType"],
        "kernel_env.grading.leaderboard": ["Leaderboard"],
        "kernel_env.grading.host": ["Grader()", "GradingSpec", "Interpreter", "Scores"],
    },
    "tasks": {
        "kernel_env.tasks.catalog": ["find", "task_folders"],
        "kernel_env": ["Task"],
        "kernel_env.tasks.spec": [
            "Scoring",
            "TaskFile",
            "MetricSection",
            "SubmissionSection",
            "LimitsSection",
            "ProtocolSection",
            "ResourcesSection",
            "KaggleSection",
            "OriginSection",
            "Section",
        ],
        "kernel_env.grading.submission": ["SubmissionSchema"],
        "kernel_env.tasks.prepare": ["Prepared", "prepare"],
        "kernel_env.audit.task": ["check", "Finding"],
    },
    "agents": {
        "kernel_env": ["Agent"],
        "kernel_env.agents": ["Options"],
        "kernel_env.runner": ["Plan", "run_episode", "run_plans"],
        "kernel_env.agents.baseline": ["Baseline"],
        "kernel_env.agents.scripted": ["Scripted"],
        "kernel_env.agents.reference.simple": ["Nop", "Sample", "Constant", "RandomValid"],
        "kernel_env.agents.reference.automl_lite": ["AutomlLite"],
        "kernel_env.agents.openai": ["OpenAIAgent"],
    },
    "sandboxes": {
        "kernel_env": ["Sandbox"],
        "kernel_env.sandbox.protocol": ["Process", "Spec", "Completed", "FileStat"],
        "kernel_env.sandbox.fork_support": ["ForkSupport", "MemoryLimit"],
        "kernel_env.sandbox.docker": ["DockerSandbox"],
        "kernel_env.sandbox.local": ["LocalSandbox"],
        "kernel_env.sandbox.selection": ["NotIsolatedWarning"],
    },
    "errors": {
        "kernel_env": [
            "KernelEnvError",
            "ActionError",
            "SubmissionError",
            "EpisodeOver",
            "UsageError",
            "UnknownName",
            "DownloadError",
            "TaskError",
            "AgentError",
            "SandboxError",
            "KernelError",
        ],
    },
}

INTERNAL = [
    "kernel_env.episode.setup.EpisodeSetup",
    "kernel_env.kernel.connection.messages.Message",
    "kernel_env.kernel.forking.fork_server.ForkServer",
    "kernel_env.kernel.forking.instance.KernelInstance",
    "kernel_env.kernel.source.KernelSource",
    "kernel_env.kernel.warm_pool.Kind",
    "kernel_env.sandbox.gpus.Gpu",
]
"""Types that signatures name and the reference leaves out."""
