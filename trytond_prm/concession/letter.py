# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.i18n import gettext
from trytond.pool import Pool

from ..report import PartyReport
from .exceptions import ConcessionLetterError


class ConcessionLetter(PartyReport):
    __name__ = 'prm.concession.letter'

    @classmethod
    def execute(cls, ids, data):
        pool = Pool()
        Concession = pool.get('prm.concession')
        if not ids:
            raise ConcessionLetterError(
                gettext('prm.msg_concession_letter_empty'))
        for concession in Concession.browse(ids):
            if concession.state != 'granted':
                raise ConcessionLetterError(gettext(
                        'prm.msg_concession_letter_state',
                        concession=concession.rec_name))
        return super().execute(ids, data)

    @classmethod
    def get_context(cls, records, header, data):
        context = super().get_context(records, header, data)
        context['company'] = header['company']
        context['party'] = header['party']
        context['get_text'] = cls.get_text
        return context

    @classmethod
    def get_text(cls, concession):
        "Return the sentence which tells what the gesture gives"
        name = f'prm.msg_concession_letter_{concession.kind}'
        values = {
            'amount': cls.format_currency(
                concession.amount, None, concession.currency),
            }
        if invoice := concession.invoice:
            values['invoice'] = invoice.number or invoice.rec_name
            if concession._credits():
                name += '_invoice'
        if concession.due_date:
            values['date'] = cls.format_date(concession.due_date)
        return gettext(name, **values)
