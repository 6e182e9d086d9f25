"""Play by fixed rules, as references: without a model, and without knowledge of the task.

`nop` does nothing, `sample` submits the sample submission, `constant` the best constant,
`random-valid` random targets, and `automl-lite` fits generic models. All code that they run is in
`guest` and is sent as cells, which a notebook of the episode shows.
"""
