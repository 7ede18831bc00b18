# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import unittest
from pathlib import Path

import polib

from trytond.pool import Pool
from trytond.tests.test_tryton import activate_module, with_transaction
from trytond.tools import find_path

LOCALE = Path(find_path('prm/tryton.cfg')).parent / 'locale'


class TranslationTestCase(unittest.TestCase):
    "Test the French translation"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        activate_module('prm')

    @with_transaction()
    def test_complete(self):
        "Each text of the module is translated"
        pool = Pool()
        Set = pool.get('ir.translation.set', type='wizard')
        Translation = pool.get('ir.translation')
        Update = pool.get('ir.translation.update', type='wizard')
        Lang = pool.get('ir.lang')

        language = Lang.get('fr')
        language.translatable = True
        language.save()
        Translation.translation_import(
            'fr', 'prm', [str(LOCALE / 'fr.po')])
        session_id, _, _ = Set.create()
        Set.execute(session_id, {}, 'set_')
        session_id, _, _ = Update.create()
        Update.execute(session_id, {
                'start': {
                    'language': language.id,
                    },
                }, 'update')
        content = Translation.translation_export('fr', 'prm')

        self.assertEqual([
                (entry.msgctxt, entry.msgid)
                for entry in polib.pofile(content.decode('utf-8'))
                if not entry.translated()], [])

    def test_file(self):
        "The file has no text that is empty or to review"
        entries = polib.pofile(str(LOCALE / 'fr.po'))

        self.assertEqual([
                entry.msgctxt for entry in entries
                if entry.fuzzy or not entry.translated()], [])
