# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.exceptions import UserError
from trytond.model.exceptions import AccessError, ValidationError


class CriterionError(ValidationError):
    pass


class EnrolmentError(UserError):
    pass


class EnrolmentAccessError(AccessError):
    pass


class DecisionError(UserError):
    pass


class DecisionAccessError(AccessError):
    pass
