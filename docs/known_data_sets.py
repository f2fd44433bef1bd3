"""The page of known data sets, written from the catalogue: `python -m docs.known_data_sets` writes it.

A test compares the page with what this module writes.
"""

from __future__ import annotations

from pathlib import Path

from data_prep.catalog import entries
from data_prep.catalog.entry import READERS, VALUES, Entry
from data_prep.catalog.entry_file import FIELDS, READ

PAGE = Path(__file__).parent / "known-data-sets.md"
BEGIN = """# Known data sets

<!-- Written by `python -m docs.known_data_sets` from data_prep/catalog/*.yaml: change those. -->

Each is one YAML file in `data_prep/catalog/`, and its name is NAME of `python -m data_prep NAME`. The counts are those
that were published; the preparation compares its own with them and says where they differ.

A test prepares `ml-100k` from the original file where that is there. **No file of a data set other than MovieLens was
fetched where this was written, which has no network**: addresses, columns and counts are from the publications and
public code that each entry names. Downloads were tested with a server on the same machine.

## What they hold and how to get them

| name | holds | how to get it | licence |
|---|---|---|---|
"""
BETWEEN = """
## How they are read and divided

| name | files | columns | rule and split | published counts | counts from |
|---|---|---|---|---|---|
"""
END = """
Of Last.fm there are two. `lastfm-2k` is small and comes from GroupLens, for first tries and tests. `lastfm-360k` is the one
of the larger comparisons; its items are the artists' names, because 107,373 of its artists have no MusicBrainz id.

## Your own entry

Copy one of the files, or write one such as this. NAME of the command is then the path of the file.

```yaml
# shop.yaml
about: purchases of our shop, 2019 to 2024
licence: ours
how: the export of the shop system, a file a month
files: orders-*.csv
read:
  format: csv
  delimiter: ";"
  user: customer_email
  item: sku
  time: purchased_at
  rating: null        # every row is an interaction
protocol: time
```

| field | value |
|---|---|
| `about`, `licence` | one line each (both are needed) |
| `page` | address of the page that publishes the data |
| `how` | how to get the files; needed without `download` |
| `download` | `{url: ..., md5: ...}`, or a list of them: files that may be fetched freely. Without `md5` the server is asked for `URL.md5` |
| `files` | name of the file in its folder, or a list; `*` stands for any text. For a split that was published: `{train: ..., valid: ..., test: ...}` |
| `reader` | READERS |
| `read` | READ_FIELDS: as the flags of the command |
| `values` | VALUES: what the rating column holds |
| `protocol`, `threshold`, `min_user_items`, `min_item_users`, `held_out_users` | defaults of the flags with these names |
| `counts`, `counts_from` | published counts by their names in `manifest.json`, and the publication |
| `parts` | names of parts (as categories), each with its counts or nothing; `{part}` in names and addresses stands for one. The command takes `NAME/PART` |

An unknown field, a field that is there twice, or a value of another kind is an error of one line with the file, the field,
what was given and what was expected.
"""  # noqa: E501


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _how(entry: Entry) -> str:
    page = f"; [page]({entry.page})" if entry.page else ""
    if not entry.downloads:
        return _cell(entry.how + page)
    part = f" (`{entry.name}/PART`, {len(entry.parts)} parts)" if entry.parts else ""
    return f"`--download`{part}{page}"


def _files(entry: Entry) -> str:
    return "; ".join(
        (f"{role}: " if role != "raw" else "") + ", ".join(f"`{name}`" for name in names)
        for role, names in entry.files.items()
    )


def _columns(entry: Entry) -> str:
    read = entry.read
    if entry.reader != "table":
        return f"format of `{entry.reader}`"
    if read.format == "lists":
        return "one line a user: its id, then those of its items"
    delimiter = {"\t": "tab"}.get(read.delimiter, f"`{read.delimiter}`")
    header = f"no header: {', '.join(read.header)}" if read.header else "header"
    used = ", ".join(f"`{name}`" for name in (read.user, read.item, read.rating, read.time) if name)
    return f"{delimiter}, {header}; used: {used}"


def _rule(entry: Entry) -> str:
    words = []
    if entry.values != "none":
        words.append(f"{entry.values} > {entry.threshold:g}" if entry.threshold is not None else entry.values)
    for name, text in (("min_user_items", "users with {} items"), ("min_item_users", "items with {} users")):
        if (least := getattr(entry, name)) is not None:
            words.append(text.format(least))
    held_out = f", {entry.held_out_users:,} held-out users" if entry.held_out_users else ""
    return ", ".join([*words, f"`{entry.protocol}`{held_out}"])


def _counts(entry: Entry) -> str:
    found = [f"{value:,} {name}" for name, value in entry.counts.items()]
    found += [f"{part}: {n:,} {name}" for part, counts in entry.parts.items() for name, n in counts.items()]
    return _cell(", ".join(found).replace("_", " ")) or "none"


def page() -> str:
    """The page, as Markdown."""
    first = [f"| `{e.name}` | {_cell(e.about)} | {_how(e)} | {_cell(e.licence)} |" for e in entries.known().values()]
    second = [
        f"| `{e.name}` | {_files(e)} | {_columns(e)} | {_rule(e)} | {_counts(e)} | {_cell(e.counts_from) or 'none'} |"
        for e in entries.known().values()
    ]
    text = BEGIN + "\n".join(first) + "\n" + BETWEEN + "\n".join(second) + "\n" + END
    for word, known in (("READERS", READERS), ("READ_FIELDS", READ), ("VALUES", VALUES)):
        text = text.replace(word, ", ".join(f"`{name}`" for name in known))
    return text


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE}: {len(entries.names())} data sets, {len(FIELDS)} fields")
