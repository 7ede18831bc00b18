# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.report import Report
from trytond.transaction import Transaction


class ContextReport(Report):
    "A report that is rendered in a context of its own"

    @classmethod
    def _get_execute_context(cls, records, header, data):
        "Return the context of the rendering"
        return {}

    @classmethod
    def _execute(cls, records, header, data, action):
        with Transaction().set_context(
                cls._get_execute_context(records, header, data)):
            return super()._execute(records, header, data, action)


class PartyReport(ContextReport):
    "A report for the party of the records, in his language"

    @classmethod
    def header_key(cls, record, data):
        return super().header_key(record, data) + (
            ('company', record.company),
            ('party', record.party),
            )

    @classmethod
    def _get_execute_context(cls, records, header, data):
        context = super()._get_execute_context(records, header, data)
        context['company'] = header['company'].id
        if lang := header['party'].lang:
            context['language'] = lang.code
            for record in records:
                record.set_lang(lang)
        return context
