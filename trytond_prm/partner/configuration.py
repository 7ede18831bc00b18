# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval, Id


class Configuration(metaclass=PoolMeta):
    __name__ = 'prm.configuration'

    partner_sequence = fields.MultiValue(fields.Many2One(
            'ir.sequence', "Partner Sequence", required=True,
            domain=[
                ('company', 'in',
                    [Eval('context', {}).get('company', -1), None]),
                ('sequence_type', '=',
                    Id('prm', 'sequence_type_partner')),
                ],
            help="Used to generate the number of the partners."))

    @classmethod
    def default_partner_sequence(cls, **pattern):
        return cls.multivalue_model(
            'partner_sequence').default_partner_sequence()


class ConfigurationSequence(metaclass=PoolMeta):
    __name__ = 'prm.configuration.sequence'

    partner_sequence = fields.Many2One(
        'ir.sequence', "Partner Sequence", required=True,
        domain=[
            ('company', 'in', [Eval('company', -1), None]),
            ('sequence_type', '=', Id('prm', 'sequence_type_partner')),
            ])

    @classmethod
    def default_partner_sequence(cls):
        pool = Pool()
        ModelData = pool.get('ir.model.data')
        try:
            return ModelData.get_id('prm', 'sequence_partner')
        except KeyError:
            return None
