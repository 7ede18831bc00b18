# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"Texts of the messages, also when no database is activated yet."
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import polib

from trytond.i18n import gettext
from trytond.pool import Pool
from trytond.transaction import Transaction

__all__ = ['text', 'format_bad_cell']

MODULE = 'prm'
_folder = Path(__file__).parent
_locale = _folder.parent.parent / 'locale'


def text(message, language, /, **values):
    """Return the text of the message in the language

    The database gives it once the module is activated, before that the files
    of the module.
    """
    if Transaction().database and Pool().ready:
        return gettext(f'{MODULE}.{message}', language, **values)
    template = _translations(language).get(message) or _texts()[message]
    return template % values


@cache
def _texts():
    tree = ElementTree.parse(_folder / 'message.xml')
    return {
        r.get('id'): r.find("field[@name='text']").text
        for r in tree.iterfind(".//record[@model='ir.message']")}


@cache
def _translations(language):
    path = _locale / f'{language}.po'
    if not path.exists():
        return {}
    prefix = 'model:ir.message,text:'
    return {
        e.msgctxt[len(prefix):]: e.msgstr
        for e in polib.pofile(str(path))
        if e.msgctxt and e.msgctxt.startswith(prefix)
        and 'fuzzy' not in e.flags}


def format_bad_cell(bad, language):
    "Return file:line: column: reason on one line"
    reason = bad.message
    if bad.values is not None:
        reason = text(reason, language, **bad.values)
    return ': '.join(filter(None, [
                f'{bad.file}:{bad.line}', bad.column,
                ' '.join(reason.split())]))
