# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt

from trytond.model import ModelSQL, fields
from trytond.modules.company.model import CompanyValueMixin
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval, Id


class Configuration(metaclass=PoolMeta):
    __name__ = 'prm.configuration'

    concession_sequence = fields.MultiValue(fields.Many2One(
            'ir.sequence', "Gesture Sequence", required=True,
            domain=[
                ('company', 'in',
                    [Eval('context', {}).get('company', -1), None]),
                ('sequence_type', '=',
                    Id('prm', 'sequence_type_concession')),
                ]))
    concession_product = fields.MultiValue(fields.Many2One(
            'product.product', "Gesture Product",
            domain=[
                ('type', '=', 'service'),
                ],
            help="The service whose account and taxes are used "
            "for the gestures that have no origin invoice.\n"
            "Leave empty to use the default revenue account "
            "of the company."))

    concession_follow_up = fields.MultiValue(fields.TimeDelta(
            "Gesture Follow-Up",
            domain=['OR',
                ('concession_follow_up', '=', None),
                ('concession_follow_up', '>=', dt.timedelta()),
                ],
            help="How long after a gesture that comes from an interaction "
            "the customer is asked what he thinks of it.\n"
            "Leave empty to plan nothing by default."))
    concession_similar = fields.MultiValue(fields.TimeDelta(
            "Similar Gestures",
            domain=['OR',
                ('concession_similar', '=', None),
                ('concession_similar', '>=', dt.timedelta()),
                ],
            help="How long ago a gesture was granted at most to warn who "
            "submits a similar one.\n"
            "Leave empty to warn only about those that are not yet granted."))

    @classmethod
    def multivalue_model(cls, field):
        pool = Pool()
        if field in {
                'concession_product', 'concession_follow_up',
                'concession_similar'}:
            return pool.get('prm.configuration.concession')
        return super().multivalue_model(field)

    @classmethod
    def default_concession_follow_up(cls, **pattern):
        return cls.multivalue_model(
            'concession_follow_up').default_concession_follow_up()

    @classmethod
    def default_concession_similar(cls, **pattern):
        return cls.multivalue_model(
            'concession_similar').default_concession_similar()

    @classmethod
    def default_concession_sequence(cls, **pattern):
        return cls.multivalue_model(
            'concession_sequence').default_concession_sequence()


class ConfigurationSequence(metaclass=PoolMeta):
    __name__ = 'prm.configuration.sequence'

    concession_sequence = fields.Many2One(
        'ir.sequence', "Gesture Sequence", required=True,
        domain=[
            ('company', 'in', [Eval('company', -1), None]),
            ('sequence_type', '=', Id('prm', 'sequence_type_concession')),
            ])

    @classmethod
    def default_concession_sequence(cls):
        pool = Pool()
        ModelData = pool.get('ir.model.data')
        try:
            return ModelData.get_id('prm', 'sequence_concession')
        except KeyError:
            return None


class ConfigurationConcession(ModelSQL, CompanyValueMixin):
    __name__ = 'prm.configuration.concession'
    __string__ = "Commercial Gesture Configuration"

    concession_product = fields.Many2One(
        'product.product', "Gesture Product", ondelete='RESTRICT',
        domain=[
            ('type', '=', 'service'),
            ],
        context={
            'company': Eval('company', -1),
            },
        depends={'company'})
    concession_follow_up = fields.TimeDelta(
        "Gesture Follow-Up",
        domain=['OR',
            ('concession_follow_up', '=', None),
            ('concession_follow_up', '>=', dt.timedelta()),
            ])

    concession_similar = fields.TimeDelta(
        "Similar Gestures",
        domain=['OR',
            ('concession_similar', '=', None),
            ('concession_similar', '>=', dt.timedelta()),
            ])

    @classmethod
    def default_concession_follow_up(cls):
        return dt.timedelta(days=14)

    @classmethod
    def default_concession_similar(cls):
        return dt.timedelta(days=90)
