# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal

from trytond.model import ModelSQL, fields
from trytond.modules.company.model import CompanyValueMixin
from trytond.pool import Pool, PoolMeta

_FIELDS = {'health_threshold', 'health_channel'}
_THRESHOLD = Decimal(40)


class Configuration(metaclass=PoolMeta):
    __name__ = 'prm.configuration'

    health_threshold = fields.MultiValue(fields.Numeric(
            "Health Threshold", digits=(None, 2),
            help="An interaction is planned with the partners whose score "
            "falls below it."))
    health_channel = fields.MultiValue(fields.Many2One(
            'prm.channel', "Health Channel",
            help="The channel of the interactions that are planned when the "
            "score falls."))

    @classmethod
    def multivalue_model(cls, field):
        pool = Pool()
        if field in _FIELDS:
            return pool.get('prm.configuration.health')
        return super().multivalue_model(field)

    @classmethod
    def default_health_threshold(cls, **pattern):
        return cls.multivalue_model(
            'health_threshold').default_health_threshold()

    @classmethod
    def default_health_channel(cls, **pattern):
        return cls.multivalue_model(
            'health_channel').default_health_channel()


class ConfigurationHealth(ModelSQL, CompanyValueMixin):
    __name__ = 'prm.configuration.health'
    __string__ = "Health Configuration"

    health_threshold = fields.Numeric(
        "Health Threshold", digits=(None, 2))
    health_channel = fields.Many2One(
        'prm.channel', "Health Channel", ondelete='RESTRICT')

    @classmethod
    def default_health_threshold(cls):
        return _THRESHOLD

    @classmethod
    def default_health_channel(cls):
        pool = Pool()
        ModelData = pool.get('ir.model.data')
        try:
            return ModelData.get_id('prm', 'channel_phone')
        except KeyError:
            return None
