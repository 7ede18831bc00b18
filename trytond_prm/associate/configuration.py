# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval, Id


class Configuration(metaclass=PoolMeta):
    __name__ = 'prm.configuration'

    share_transaction_sequence = fields.MultiValue(fields.Many2One(
            'ir.sequence.strict', "Share Transaction Sequence", required=True,
            domain=[
                ('company', 'in',
                    [Eval('context', {}).get('company', -1), None]),
                ('sequence_type', '=',
                    Id('prm', 'sequence_type_share_transaction')),
                ],
            help="Numbers the transactions of the share register "
            "when they are posted."))

    @classmethod
    def default_share_transaction_sequence(cls, **pattern):
        return cls.multivalue_model(
            'share_transaction_sequence').default_share_transaction_sequence()


class ConfigurationSequence(metaclass=PoolMeta):
    __name__ = 'prm.configuration.sequence'

    share_transaction_sequence = fields.Many2One(
        'ir.sequence.strict', "Share Transaction Sequence", required=True,
        domain=[
            ('company', 'in', [Eval('company', -1), None]),
            ('sequence_type', '=',
                Id('prm', 'sequence_type_share_transaction')),
            ])

    @classmethod
    def default_share_transaction_sequence(cls):
        pool = Pool()
        ModelData = pool.get('ir.model.data')
        try:
            return ModelData.get_id('prm', 'sequence_share_transaction')
        except KeyError:
            return None
