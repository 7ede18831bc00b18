# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import unittest

from lxml import etree

from trytond.pool import Pool
from trytond.pyson import PYSONDecoder
from trytond.tests.test_tryton import activate_module, with_transaction


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
