# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.exceptions import UserError
from trytond.model.exceptions import AccessError, ValidationError


class RegistrationError(UserError):
    pass


class RegistrationConflictError(UserError):
    pass


class RegistrationAccessError(AccessError):
    pass


class AttributionError(ValidationError):
    pass
