# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"What is kept of a buyback with its document."
import trytond.config as config
from trytond.i18n import gettext
from trytond.model import fields
from trytond.model.exceptions import AccessError
from trytond.pyson import Bool, Eval
from trytond.transaction import Transaction

from ..exceptions import WorkflowAccessError

store_prefix = config.get('prm', 'buyback_store_prefix', default=None)


class DocumentMixin:
    """What happened to a buyback, of which only the document may be added."""
    __slots__ = ()

    buyback = fields.Many2One(
        'prm.buyback', "Buyback", required=True, readonly=True,
        ondelete='CASCADE')
    date = fields.Date("Date", required=True, readonly=True)
    description = fields.Text("Description", readonly=True)
    recorded_by = fields.Many2One(
        'res.user', "Recorded by", readonly=True, ondelete='RESTRICT')
    document = fields.Binary(
        "Document", filename='document_name',
        file_id='document_id', store_prefix=store_prefix,
        states={
            'readonly': Bool(Eval('document_id')),
            },
        help="The document as it was signed or sent.\n"
        "It does not change any more once it is saved.")
    document_name = fields.Char(
        "Document Name",
        states={
            'readonly': Bool(Eval('document_id')),
            })
    document_id = fields.Char("Document ID", readonly=True)
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('buyback')
        cls._order = [('date', 'DESC'), ('id', 'DESC')]

    @classmethod
    def default_recorded_by(cls):
        return Transaction().user or None

    @fields.depends('buyback', '_parent_buyback.currency')
    def on_change_with_currency(self, name=None):
        return self.buyback.currency if self.buyback else None

    def get_rec_name(self, name):
        return f'{self.buyback.rec_name} @ {self.date}'

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('buyback.rec_name', *clause[1:])]

    @classmethod
    def check_modification(cls, mode, records, values=None, external=False):
        super().check_modification(
            mode, records, values=values, external=external)
        if mode == 'create':
            if external:
                raise WorkflowAccessError(gettext(
                        'prm.msg_readonly_record',
                        **cls.__names__(record=records[0])))
            return
        if (mode == 'write'
                and Transaction().context.get('_buyback_amendment')):
            return
        document = (
            mode == 'write' and values.keys() <= {'document', 'document_name'})
        for record in records:
            if not document or record.document_id:
                raise AccessError(gettext(
                        'prm.msg_buyback_document_modify',
                        **cls.__names__(record=record)))
