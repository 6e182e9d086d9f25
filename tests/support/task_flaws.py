"""Flaws of a task: changes of the tiny task's files, and what its checks then say."""

SPLIT = "    train, test = table[:140], table[140:].reset_index(drop=True)\n"
"""A line of the tiny task's prepare.py; flaws are inserted before or after it."""
SECOND_FEATURE = '    table["z"] = rng.normal(size=200).round(6)\n'
TEXT_FEATURE = """\
    words = [a + b for a in 'abcdefgh' for b in 'aeiou']
    table["note"] = [" ".join(rng.choice(words, 15)) for _ in range(200)]
"""
PICTURE_FEATURE = """\
    import os, shutil
    from PIL import Image
    table["file"] = [f"{n}.png" for n in range(200)]
    for file in table.file:
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(public / file)
    train_file, test_file = public / "5.png", public / "140.png"
"""
FLAWS = {
    "an id is in train and test": (
        [("prepare.py", SPLIT, SPLIT + "    test.loc[0, 'id'] = 7\n")],
        {
            "ids": "1 ids are in both train.csv and test.csv (for example '7');"
            " number the rows before the split"
        },
    ),
    "an id is unknown": (
        [("prepare.py", "test.assign(Usage=usage)", "test.assign(Usage=usage, id=test.id + 1)")],
        {
            "ids": "sample_submission.csv lacks 1 ids of answers.csv, has 1 others"
            " and 0 repeated ones; write the same ids to both files"
        },
    ),
    "a row is in train and test": (
        [("prepare.py", SPLIT, SPLIT + "    test.loc[0, 'x'] = train.x[5]\n")],
        {
            "rows": "1 of 60 test rows equal a training row in every feature (for example ids 140"
            " and 5); keep equal rows on one side of the split"
        },
    ),
    "rows are nearly in train and test": (
        [
            (
                "prepare.py",
                SPLIT,
                SECOND_FEATURE
                + SPLIT
                + "    test.loc[:4, ['x', 'z']] = train.loc[:4, ['x', 'z']] + 1e-5\n",
            )
        ],
        {
            "near-duplicate rows": "5 of 60 test rows equal a training row after rounding fractions"
            " to 3 digits and text to its words (for example ids 140 and 0); keep such rows on one"
            " side of the split"
        },
    ),
    "a text is nearly in train and test": (
        [
            (
                "prepare.py",
                SPLIT,
                TEXT_FEATURE + SPLIT + "    test.loc[0, 'note'] = train.note[5].upper() + '!'\n",
            )
        ],
        {
            "near-duplicate texts": "1 of 60 test rows have a training row whose 'note' shares 80 %"
            " of the 3-word phrases (for example ids 140 and 5); keep such texts on one side of the"
            " split"
        },
    ),
    "a file is in train and test": (
        [
            (
                "prepare.py",
                SPLIT,
                PICTURE_FEATURE + SPLIT + "    shutil.copyfile(train_file, test_file)\n",
            )
        ],
        {
            "files": "1 of 60 test files in 'file' equal a training file (for example ids 140"
            " and 5); keep equal files on one side of the split"
        },
    ),
    "a picture is nearly in train and test": (
        [
            (
                "prepare.py",
                SPLIT,
                PICTURE_FEATURE
                + SPLIT
                + "    Image.open(train_file).resize((64, 64), 0).save(test_file)\n",
            )
        ],
        {
            "near-duplicate pictures": "1 of 60 test pictures in 'file' equal a training picture"
            " reduced to 16 × 16 pixels (for example ids 140 and 5); keep such pictures on one side"
            " of the split"
        },
    ),
    "files are written in the order of the answers": (
        [
            (
                "prepare.py",
                SPLIT,
                PICTURE_FEATURE
                + SPLIT
                + "    for n, row in test.sort_values('y').reset_index().iterrows():\n"
                "        os.utime(public / row.file, (n, n))\n",
            )
        ],
        {
            "order of rows": "in the modification times of the files in 'file', consecutive rows"
            " have similar answers for 'y': none of 9,999 random orders is as similar"
            " (p = 0.0001); shuffle the rows before numbering and writing them"
        },
    ),
    "test.csv has the target": (
        [("prepare.py", 'test.drop(columns="y")', "test")],
        {"public files": "test.csv has the target 'y'; remove that column"},
    ),
    "another public file has the answers": (
        [
            (
                "prepare.py",
                SPLIT,
                SPLIT + "    test[['id', 'y']].set_axis(['id', 'w'], axis=1)"
                ".to_csv(public / 'more.csv', index=False)\n",
            )
        ],
        {
            "public files": "column 'w' of the public file more.csv holds the answers for 'y';"
            " remove that column"
        },
    ),
    "a column determines the target": (
        [("prepare.py", SPLIT, "    table['w'] = 2 * table.y + 1\n" + SPLIT)],
        {
            "leak columns": "the column 'w' determines 'y': learned from train.csv, it removes"
            " 100.0 % of the best constant's error, expected less than 98 %; remove that column"
        },
    ),
    "two columns determine the target": (
        [
            (
                "prepare.py",
                SPLIT,
                "    table['v'] = rng.normal(size=200)\n    table['w'] = table.y - table.v\n"
                + SPLIT,
            )
        ],
        {
            "leak pairs": "the column 'w' + the column 'v' determines 'y': learned from train.csv,"
            " it removes 100.0 % of the best constant's error, expected less than 98 %; remove that"
            " column"
        },
    ),
    "test rows are sorted by the answers": (
        [
            (
                "prepare.py",
                SPLIT,
                SPLIT + "    test = test.sort_values('y', ignore_index=True)\n"
                "    test['id'] = rng.permutation(60) + 140\n",
            )
        ],
        {
            "order of rows": "in test.csv, consecutive rows have similar answers for 'y': none of"
            " 9,999 random orders is as similar (p = 0.0001); shuffle the rows before numbering and"
            " writing them"
        },
    ),
    "ids depend on the answers": (
        [
            (
                "prepare.py",
                SPLIT,
                "    table['id'] = 2 * rng.permutation(200) + (table.y > 0)\n" + SPLIT,
            )
        ],
        {
            "ids as features": "row numbers and ids alone predict 'y' better than chance"
            " (decision tree): none of 9,999 random orders of the answers agrees as well"
            " (p = 0.0001); shuffle the rows before numbering them"
        },
    ),
    "the sample is no submission": (
        [("prepare.py", "test.assign(y=0.0)", "test.assign(y='?')")],
        {
            "sample submission": "rejected: column 'y' has 60 values that are not finite numbers"
            " (for example '?'); this task expects numbers"
        },
    ),
    "the sample is a good model": (
        [("prepare.py", "test.assign(y=0.0)", "test.assign(y=3 * test.x)")],
        {
            "sample submission": "scores 0.088008 / 0.093603 and beats 100 % of 4 entries, expected"
            " at most 25 %; write values that do not depend on the answers"
        },
    ),
    "a constant scores well": (
        [
            ("prepare.py", "test.assign(y=0.0)", "test.assign(y=50.0)"),
            ("leaderboard.csv", "2.0,2.0", "9.0,9.0"),
            ("leaderboard.csv", "1.5,1.5", "9.0,9.0"),
        ],
        {
            "constant answer": "the constant -0.005884 scores 3.094 / 2.6383 and beats 75 % of"
            " 4 entries, expected at most 25 %; choose another metric, or make a new leaderboard"
        },
    ),
    "the leaderboard is better than the answers": (
        [("leaderboard.csv", "0.11,0.11", "-0.11,-0.11")],
        {
            "oracle": "the answers score 0 / 0 and rank 2 of 4, expected rank 1; check the metric's"
            " direction, the answers and leaderboard.csv"
        },
    ),
}
"""Changes of the tiny task, and the findings that they cause."""
