# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import ast
import unittest
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / 'trytond_prm'
# From the bottom to the top: a room uses only what stands below it
ROOMS = [
    'ground', 'partner', 'interaction', 'deal', 'concession', 'associate',
    'performance', 'health', 'program', 'review']
# What may use every room, and no room uses
OUTSIDE = {'load'}


def room_of(path):
    "Return the room of the file"
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else 'ground'


def files():
    for path in sorted(PACKAGE.rglob('*.py')):
        yield path, ast.parse(path.read_text(encoding='utf-8'))


def is_pool_meta(node):
    return any(
        k.arg == 'metaclass'
        and isinstance(k.value, ast.Name) and k.value.id == 'PoolMeta'
        for k in node.keywords)


def model_name(node):
    "Return the __name__ of the class"
    for statement in node.body:
        if (isinstance(statement, ast.Assign)
                and isinstance(statement.value, ast.Constant)
                and any(isinstance(t, ast.Name) and t.id == '__name__'
                    for t in statement.targets)):
            return statement.value.value


def owners(trees):
    "Return the room that defines each model"
    result = {}
    for path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not is_pool_meta(node):
                name = model_name(node)
                if name and name.startswith('prm.'):
                    result[name] = room_of(path)
    return result


def imported_rooms(path, tree):
    "Yield the room of each import from this package with its line"
    here = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = (node.module or '').split('.') if node.module else []
            if node.level:
                base = list(here[:len(here) - (node.level - 1)])
            elif module[:4] == ['trytond', 'modules', 'prm', 'trytond_prm']:
                base, module = [], module[4:]
            else:
                continue
            for alias in node.names:
                target = base + module + [alias.name]
                if (PACKAGE / target[0]).is_dir():
                    yield target[0], node.lineno
                else:
                    yield 'ground', node.lineno


def used_models(tree):
    """Yield the prm models that the code names with their line

    They are given to the pool, to a field or to a domain: every constant
    string that is a name of a model, but the name of the class itself.
    """
    own = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                if (isinstance(statement, ast.Assign)
                        and isinstance(statement.value, ast.Constant)
                        and any(isinstance(t, ast.Name)
                            and t.id == '__name__'
                            for t in statement.targets)
                        and not is_pool_meta(node)):
                    own.add(statement.value)
    for node in ast.walk(tree):
        if (isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and node.value.startswith('prm.')
                and node not in own):
            yield node.value, node.lineno


class RoomsTestCase(unittest.TestCase):
    "Test the order of the rooms"

    def check(self, path, room, other, line, what):
        if room in OUTSIDE or other == room:
            return
        self.assertNotIn(
            other, OUTSIDE,
            f"{path}:{line}: {room} uses {what} that stands outside")
        self.assertLess(
            ROOMS.index(other), ROOMS.index(room),
            f"{path}:{line}: {room} uses {what} of the upper room {other}")

    def test_known(self):
        "Every folder is a room"
        for path in PACKAGE.iterdir():
            if path.is_dir() and path.name != '__pycache__':
                self.assertIn(path.name, set(ROOMS[1:]) | OUTSIDE)

    def test_imports(self):
        "No room imports an upper one"
        for path, tree in files():
            room = room_of(path)
            for other, line in imported_rooms(path, tree):
                with self.subTest(path=path.name, line=line):
                    self.check(path, room, other, line, "a file")

    def test_models(self):
        "No room names a model of an upper one"
        trees = list(files())
        owner = owners(trees)
        for path, tree in trees:
            room = room_of(path)
            for model, line in used_models(tree):
                if model not in owner:
                    # A message, an action, a button …
                    continue
                with self.subTest(path=path.name, line=line):
                    self.check(path, room, owner[model], line, model)

    def test_one_owner(self):
        "Each model is defined by one room only"
        seen = {}
        for path, tree in files():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and not is_pool_meta(node):
                    name = model_name(node)
                    if name and name.startswith('prm.'):
                        # A report has the name of its model
                        room = room_of(path)
                        self.assertEqual(
                            seen.setdefault(name, room), room, msg=name)

    def test_detection(self):
        "The test sees what points upwards"
        tree = ast.parse(
            "from ..review import review\n"
            "class A(metaclass=PoolMeta):\n"
            "    __name__ = 'prm.partner'\n"
            "    a = fields.Many2One('prm.review', 'A')\n"
            "    def b(self):\n"
            "        Pool().get('prm.buyback')\n")
        path = PACKAGE / 'partner' / 'a.py'
        self.assertEqual(
            list(imported_rooms(path, tree)), [('review', 1)])
        self.assertEqual(
            {m for m, _ in used_models(tree)},
            {'prm.partner', 'prm.review', 'prm.buyback'})
        with self.assertRaises(AssertionError):
            self.check(path, 'partner', 'review', 1, 'prm.review')
