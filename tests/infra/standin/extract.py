"""The schema of Terraform's AWS provider, read out of the package that is generated from it.

That package holds a class in JavaScript for each resource and data source; comments in it say which attributes are
required, optional and computed, and a function for each block says what its members are. What is read is plain JSON::

    {"attributes": {NAME: {"type": TYPE, "required": …, "optional": …, "computed": …}},
     "blocks": {NAME: {"nesting": "list"|"set"|"single"|"map", "min": 0, "max": 0, "block": …}}}

with types as Terraform writes them: ``"string"``, ``["list", "string"]``, ``["object", {…}]``.
"""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

Block = dict[str, Any]
Type = Any
_PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
_COLLECTIONS = {"List": "list", "Set": "set", "Map": "map"}
_CLASS = re.compile(r"^class (\w+) extends cdktn\.(\w+) \{(.*?)^\}", re.S | re.M)
_FLAGS = re.compile(r"^    // (\w+) - computed: (\w+), optional: (\w+), required: (\w+)\n", re.M)
_FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}", re.S | re.M)
_SYNTHESIZED = re.compile(r"^    synthesizeHclAttributes\(\) \{\n(.*?)^    \}", re.S | re.M)
_MEMBER = re.compile(
    r"^ +(\w+): \{\n +value: (.*?),\n +isBlock: (true|false),\n +type: \"(\w+)\",\n +storageClassType: \"([^\"]*)\"",
    re.S | re.M,
)
_TYPE_NAME = re.compile(r'static tfResourceType = "(aws_\w+)"')
_KINDS = {"TerraformResource": "resources", "TerraformDataSource": "data_sources", "TerraformProvider": "provider"}


class Unresolved(Exception):
    """A name of which the package does not tell the type."""


class Module:
    """One resource's JavaScript, taken apart."""

    def __init__(self, text: str) -> None:
        self._classes = {name: (base, body) for name, base, body in _CLASS.findall(text)}
        self._members = {name.lower(): _MEMBER.findall(body) for name, body in _FUNCTION.findall(text)}

    @cached_property
    def main(self) -> tuple[str, str] | None:
        """Kind and name of the class that is the resource; None if there is none that is known here."""
        for name, (base, _) in self._classes.items():
            if base in _KINDS:
                return _KINDS[base], name
        return None

    @property
    def type_name(self) -> str:
        """``aws_sqs_queue``; empty for the provider."""
        assert self.main is not None
        found = _TYPE_NAME.search(self._classes[self.main[1]][1])
        return found.group(1) if found else ""

    def schema(self) -> Block:
        """Of the main class."""
        assert self.main is not None
        kind, name = self.main
        body = self._classes[name][1]
        (synthesized,) = _SYNTHESIZED.findall(body)
        return self._block(_MEMBER.findall(synthesized), body, lenient=kind == "provider")

    def _block(self, members: Iterable[tuple[str, ...]], body: str, *, lenient: bool = False) -> Block:
        listed = {member[0]: member[1:] for member in members}
        attributes: dict[str, Any] = {}
        blocks: dict[str, Any] = {}
        for name, (computed, optional, required), code in _flags(body):
            flags = {"computed": computed, "optional": optional or lenient, "required": required and not lenient}
            try:
                if name in listed and listed[name][1] == "true":
                    blocks[name] = self._nested(*listed[name], required=flags["required"])
                else:
                    known = self._listed(*listed[name]) if name in listed else self._got(code)
                    attributes[name] = {"type": known, **flags}
            except (Unresolved, KeyError):
                if not lenient:
                    raise Unresolved(name) from None
        return {"attributes": attributes, "blocks": blocks}

    def _nested(self, value: str, _: str, kind: str, __: str, *, required: bool) -> Block:
        struct = _struct_in(value)
        block = self._of_struct(struct)
        nesting = {"struct": "single"}.get(kind, kind)
        one = kind == "list" and "istMapper" not in value
        return {"nesting": nesting, "min": int(required), "max": int(one), "block": block}

    def _of_struct(self, struct: str) -> Block:
        members = self._members[struct.lower()]
        body = self._body_of(struct + "OutputReference")
        if body is None:  # the provider's own blocks have no such class
            body = "".join(
                f"    // {name} - computed: false, optional: true, required: false\n" for name, *_ in members
            )
        return self._block(members, body)

    def _body_of(self, name: str) -> str | None:
        wanted = name.lower()
        return next((body for each, (_, body) in self._classes.items() if each.lower() == wanted), None)

    def _listed(self, value: str, _: str, kind: str, storage: str) -> Type:
        """An attribute that may be set."""
        try:
            return _simple(kind, storage)
        except Unresolved:
            inner = self._object(self._of_struct(_struct_in(value)))
            return inner if kind == "struct" or ("istMapper" not in value and kind != "map") else [kind, inner]

    def _object(self, block: Block) -> Type:
        members = {name: each["type"] for name, each in block["attributes"].items()}
        nested = {name: [each["nesting"], self._object(each["block"])] for name, each in block["blocks"].items()}
        return ["object", {**members, **nested}]

    def _got(self, code: str) -> Type:
        """An attribute that AWS sets, by what its getter gives."""
        if found := re.search(r"new (?:\w+\.)?(\w+?)(List|MapList|Map|OutputReference)\(this, \"\w+\"(, true)?", code):
            name, kind, is_set = found.groups()
            if self._body_of(name + "OutputReference") is None:
                if kind == "Map" and name in ("String", "Number", "Boolean", "Any"):
                    return ["map", _PRIMITIVES.get(name.lower(), "string")]
                raise Unresolved(name)
            flags = self._of_output(name)
            return (
                flags if kind == "OutputReference" else ["set" if is_set else "map" if "Map" in kind else "list", flags]
            )
        if found := re.search(r"new cdktn\.(String|Number|Boolean|Any)Map(List)?\(", code):
            inner: Type = ["map", _PRIMITIVES.get(found.group(1).lower(), "string")]
            return ["list", inner] if found.group(2) else inner
        if found := re.search(r"get(String|Number|Boolean)MapAttribute", code):
            return ["map", _PRIMITIVES[found.group(1).lower()]]
        if found := re.search(
            r"get(NumberList|List|String|Number|Boolean)Attribute|(Any|interpolationForAttribute)", code
        ):
            name = found.group(1) or "Any"
            if name in ("List", "NumberList"):
                return ["set" if "tolist" in code else "list", "number" if name == "NumberList" else "string"]
            return _PRIMITIVES[name.lower()]
        raise Unresolved(code[:60])

    def _of_output(self, name: str) -> Type:
        body = self._body_of(name + "OutputReference") or ""
        return ["object", {each: self._got(code) for each, _, code in _flags(body)}]


def _flags(body: str) -> Iterator[tuple[str, tuple[bool, bool, bool], str]]:
    """Each commented name, its flags, and the code that follows it."""
    found = list(_FLAGS.finditer(body))
    for match, after in zip(found, [*found[1:], None], strict=False):
        computed, optional, required = (match.group(number) == "true" for number in (2, 3, 4))
        yield match.group(1), (computed, optional, required), body[match.end() : after.start() if after else None]


def _struct_in(value: str) -> str:
    """The function that a value goes through, without ``ToHclTerraform``."""
    names = [name for name in re.findall(r"(\w+?)ToHclTerraform", value) if name not in _PRIMITIVES]
    if not names:
        raise Unresolved(value)
    return str(names[0])


def _simple(kind: str, storage: str) -> Type:
    """``stringList`` of kind set is a set of strings."""
    for name, primitive in _PRIMITIVES.items():
        if storage == name:
            return primitive if kind == "simple" else [kind, primitive]
        rest = storage.removeprefix(name)
        if rest != storage and re.fullmatch(r"(List|Set|Map)+", rest):
            inner: Type = primitive
            for each in re.findall("List|Set|Map", rest)[:-1]:
                inner = [_COLLECTIONS[each], inner]
            return [kind, inner]
    raise Unresolved(storage)


class Package:
    """The wheel with the generated package."""

    def __init__(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as outer:
            (name,) = (each for each in outer.namelist() if each.endswith(".jsii.tgz"))
            self._tar = tarfile.open(fileobj=io.BytesIO(outer.read(name)))  # noqa: SIM115 - of memory, and as long as this

    def modules(self, folders: frozenset[str] | None = None) -> Iterator[Module]:
        """All of them, or those of some folders, each with the structures beside it."""
        texts: dict[str, str] = {}
        for member in self._tar:
            parts = member.name.split("/")
            if parts[:2] != ["package", "lib"] or parts[-1].rpartition(".")[2] != "js" or len(parts) < 4:
                continue
            if folders is None or parts[2] in folders:
                file = self._tar.extractfile(member)
                assert file is not None
                texts[parts[2]] = texts.get(parts[2], "") + file.read().decode()
        for text in texts.values():
            module = Module(text)
            if module.main is not None:
                yield module


def folder_of(kind: str, type_name: str) -> str:
    """Where a type is in the package."""
    name = type_name.removeprefix("aws_").replace("_", "-")
    return f"data-aws-{name}" if kind == "data_sources" else name


def schema_of(wheel: Path, resources: Iterable[str], data_sources: Iterable[str]) -> dict[str, Any]:
    """The schema of the provider and of some types.

    Raises:
        KeyError: the provider has no such type.
    """
    wanted = {"resources": set(resources), "data_sources": set(data_sources)}
    folders = {folder_of(kind, name) for kind, names in wanted.items() for name in names} | {"provider"}
    found: dict[str, Any] = {"provider": {}, "resources": {}, "data_sources": {}}
    for module in Package(wheel).modules(frozenset(folders)):
        assert module.main is not None
        if module.main[0] == "provider":
            found["provider"] = module.schema()
        elif module.type_name in wanted[module.main[0]]:
            found[module.main[0]][module.type_name] = module.schema()
    for kind, names in wanted.items():
        if missing := names - set(found[kind]):
            raise KeyError(f"the provider has no {kind} {sorted(missing)}")
    return found
