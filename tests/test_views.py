# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import re
import unittest
from pathlib import Path

from lxml import etree

from trytond.pool import Pool
from trytond.pyson import PYSONDecoder
from trytond.tests.test_tryton import activate_module, with_transaction

PACKAGE = Path(__file__).resolve().parent.parent / 'trytond_prm'
# What the desktop and the web client of 8.0 both bring, without "tryton-"
ICONS = """
    add archive arrow-down arrow-left arrow-right arrow-up attach back
    barcode-scanner bookmark bookmark-border bookmarks cancel chat clear
    close copy create date delete download drag email error exit export
    filter format-align-center format-align-justify format-align-left
    format-align-right format-bold format-color-text format-italic
    format-underline forward history import info launch link log menu note
    notification notification-off notification-on ok open print public
    question refresh remove save search send sound-off sound-on star
    star-border switch translate unarchive undo warning
    """.split()


class ViewsTestCase(unittest.TestCase):
    "Test views"

    @classmethod
    def setUpClass(cls):
        activate_module('prm')

    @with_transaction()
    def test_moments(self):
        "The clients have columns for a date and a time but not for a moment"
        pool = Pool()
        View = pool.get('ir.ui.view')
        for view in View.search([
                    ('module', '=', 'prm'),
                    ('model', '!=', None),
                    ]):
            tree = etree.fromstring(view.arch)
            fields = pool.get(view.model)._fields
            for node in tree.xpath('/tree//field'):
                name = node.get('name')
                if fields[name]._type in {'datetime', 'timestamp'}:
                    with self.subTest(view=view.name, field=name):
                        self.assertIn(node.get('widget'), {'date', 'time'})

    @with_transaction()
    def test_calendars(self):
        "The web client shows the values of the selections in a calendar"
        pool = Pool()
        View = pool.get('ir.ui.view')
        for view in View.search([
                    ('module', '=', 'prm'),
                    ('type', '=', 'calendar'),
                    ]):
            fields = pool.get(view.model)._fields
            for node in etree.fromstring(view.arch).iter('field'):
                with self.subTest(view=view.name, field=node.get('name')):
                    self.assertNotEqual(
                        fields[node.get('name')]._type, 'selection')

    @with_transaction()
    def test_colors(self):
        "The desktop client knows the colors of graphs by number only"
        pool = Pool()
        View = pool.get('ir.ui.view')
        for view in View.search([
                    ('module', '=', 'prm'),
                    ('type', '=', 'graph'),
                    ]):
            for color in etree.fromstring(view.arch).xpath('//@color'):
                with self.subTest(view=view.name):
                    self.assertRegex(color, r'^#[0-9a-f]{6}$')

    @with_transaction()
    def test_months(self):
        "The desktop client draws a bar, or zero, for each day of the dates"
        pool = Pool()
        View = pool.get('ir.ui.view')
        for view in View.search([
                    ('module', '=', 'prm'),
                    ('type', '=', 'graph'),
                    ]):
            tree = etree.fromstring(view.arch)
            name, = tree.xpath('/graph/x/field/@name')
            if pool.get(view.model)._fields[name]._type == 'date':
                with self.subTest(view=view.name):
                    self.assertEqual(tree.get('type'), 'line')
                    # A mark is drawn from zero
                    self.assertFalse(tree.xpath(
                            '/graph/y/field[not(@empty = "0")]'
                            '[not(starts-with(@name, "mark_"))]'))
                continue
            # It fails when a bar, or each point, has no value
            tree = etree.fromstring(
                pool.get(view.model).fields_view_get(view.id)['arch'])
            with self.subTest(view=view.name):
                if tree.get('type') == 'line':
                    self.assertTrue(
                        tree.xpath('/graph/y/field[not(@domain)]'))
                else:
                    self.assertFalse(tree.xpath('/graph/y/field/@domain'))

    @with_transaction()
    def test_icons(self):
        "The clients have the icons"
        pool = Pool()
        Icon = pool.get('ir.ui.icon')
        icons = {i.name for i in Icon.search([])} | {
            f'tryton-{name}' for name in ICONS}
        for path in [*PACKAGE.rglob('*.py'), *PACKAGE.rglob('*.xml')]:
            for icon in re.findall(r'\btryton-[a-z-]+', path.read_text()):
                with self.subTest(file=path.name):
                    self.assertIn(icon, icons)

    @with_transaction()
    def test_boards(self):
        "The web client ignores the domain of the actions of a board"
        pool = Pool()
        ActWindow = pool.get('ir.action.act_window')
        ModelData = pool.get('ir.model.data')
        View = pool.get('ir.ui.view')
        names = {
            node.get('name')
            for view in View.search([
                    ('module', '=', 'prm'),
                    ('type', '=', 'board'),
                    ])
            for node in etree.fromstring(view.arch).iter('action')}
        self.assertTrue(names)
        for name in names:
            with self.subTest(action=name):
                action = ActWindow(ModelData.get_id(name))
                self.assertFalse(PYSONDecoder().decode(action.domain or '[]'))
                Model = pool.get(action.res_model)
                Model.search(PYSONDecoder({'company': 1}).decode(
                        action.context_domain or '[]'), limit=1)
