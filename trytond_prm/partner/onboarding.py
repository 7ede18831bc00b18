# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.model import ModelSQL, ModelView, fields, sequence_ordered
from trytond.pyson import Eval


class PartnerTypeStep(sequence_ordered(), ModelSQL, ModelView):
    __name__ = 'prm.partner.type.step'
    __string__ = "Partner Type Step"

    type = fields.Many2One(
        'prm.partner.type', "Type", required=True, ondelete='CASCADE')
    name = fields.Char(
        "Name", required=True, translate=True,
        help="What must be done before a partner of the type is active.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('type')


class PartnerStep(sequence_ordered(), ModelSQL, ModelView):
    __name__ = 'prm.partner.step'
    __string__ = "Partner Step"

    partner = fields.Many2One(
        'prm.partner', "Partner", required=True, ondelete='CASCADE')
    partner_state = fields.Function(
        fields.Selection('get_partner_states', "Partner State"),
        'on_change_with_partner_state')
    name = fields.Char(
        "Name", required=True,
        states={
            'readonly': Eval('partner_state') != 'onboarding',
            })
    done = fields.Boolean(
        "Done",
        states={
            'readonly': Eval('partner_state') != 'onboarding',
            })

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('partner')

    @classmethod
    def default_done(cls):
        return False

    @classmethod
    def get_partner_states(cls):
        Partner = cls.partner.get_target()
        return Partner.fields_get(['state'])['state']['selection']

    @fields.depends('partner', '_parent_partner.state')
    def on_change_with_partner_state(self, name=None):
        return self.partner.state if self.partner else None
