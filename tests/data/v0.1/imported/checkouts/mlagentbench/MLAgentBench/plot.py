lower_the_better_tasks = ["Price", "other"]
