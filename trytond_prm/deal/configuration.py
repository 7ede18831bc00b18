# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.model import ModelSQL, fields
from trytond.modules.company.model import CompanyValueMixin
from trytond.pool import Pool, PoolMeta

_DAYS = 90


class Configuration(metaclass=PoolMeta):
    __name__ = 'prm.configuration'

    registration_days = fields.MultiValue(fields.Integer(
            "Registration Days", required=True,
            domain=[
                ('registration_days', '>', 0),
                ],
            help="How many days an approved deal registration protects the "
            "deal."))

    @classmethod
    def multivalue_model(cls, field):
        pool = Pool()
        if field == 'registration_days':
            return pool.get('prm.configuration.registration')
        return super().multivalue_model(field)

    @classmethod
    def default_registration_days(cls, **pattern):
        return cls.multivalue_model(
            'registration_days').default_registration_days()


class ConfigurationRegistration(ModelSQL, CompanyValueMixin):
    __name__ = 'prm.configuration.registration'
    __string__ = "Deal Registration Configuration"

    registration_days = fields.Integer(
        "Registration Days", required=True,
        domain=[
            ('registration_days', '>', 0),
            ])

    @classmethod
    def default_registration_days(cls):
        return _DAYS
