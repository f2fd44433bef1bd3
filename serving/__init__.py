"""Convert, verify and serve an exported model.

This package reads an export folder, and a prepared data set where it needs users. It imports no model class and reads
no checkpoint.

A module imports only modules of its own folder and of the folders and modules that stand before it here:

    command_help    the help of the commands
    progress        progress lines
    ids             original ids: their types, their padding
    held_out        held-out users as requests of item indices
    data_set        the data set that an exported model was trained on
    export_folder   the files that training exported
    targets         formats and precisions, and the folder of a converted model
    histories/      the items that users have: SQLite, PostgreSQL, Redis, or a prepared data set
    engines/        run a model: TensorFlow, ONNX Runtime, TensorRT
    convert/        convert to other formats, check the operators, verify the results
    infer/          run the same requests in several processes at once
    reasons/        which items of a history carry a recommendation
    recommend/      requests with original ids, and their recommendations
    batch/          recommendations for all users, into files
    similar/        similar items
    demo/           a page in the browser for people who try a model
    triton/         Triton's model repository, server and client
    release/        publish a new version of a model, shadow it, or roll back to an earlier one
"""

import recsys_core  # noqa: F401 - sets the environment variables that TensorFlow reads when it is imported
