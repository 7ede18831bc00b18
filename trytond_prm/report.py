# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.i18n import gettext
from trytond.report import Report
from trytond.transaction import Transaction

from .exceptions import PrintError


class PDFReport(Report):
    "A report whose pages are laid out from HTML by WeasyPrint"

    @classmethod
    def convert(cls, report, data, **kwargs):
        """Convert the data of the report.

        Raise a PrintError if the libraries with which WeasyPrint draws text
        are not on the server.
        """
        try:
            return cls._convert(report, data, **kwargs)
        except OSError as error:
            # The wheel of WeasyPrint loads the libraries of the system at its
            # import
            raise PrintError(gettext(
                    'prm.msg_print_library',
                    report=report.rec_name,
                    error=error)) from error

    @classmethod
    def _convert(cls, report, data, **kwargs):
        return super().convert(report, data, **kwargs)


class ContextReport(PDFReport):
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
