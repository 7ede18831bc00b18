# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"The kinds of cells of the spreadsheets and how their text is parsed."
import datetime as dt
import re
from decimal import Decimal

__all__ = [
    'CellError', 'Text', 'Choice', 'Boolean', 'Date', 'DateTime', 'Number',
    'Integer', 'Months', 'Email', 'URL', 'Reference']

FIRST_DATE = dt.date(1900, 1, 1)
_date = re.compile(r'\d{4}-\d{2}-\d{2}', re.ASCII)
_datetime = re.compile(
    r'(\d{4}-\d{2}-\d{2})[ T](\d{2}):(\d{2})(?::(\d{2}))?', re.ASCII)
_number = re.compile(r'-?\d+(?:\.(\d+))?', re.ASCII)
_integer = re.compile(r'-?\d+', re.ASCII)
_email = re.compile(r'[^@\s]+@[^@\s]+')
_url = re.compile(r'https?://[^\s/]+\S*')


class CellError(ValueError):
    "The text of a cell is wrong: the identifier of a message and its values"

    def __init__(self, message, /, **values):
        super().__init__(message)
        self.message = message
        self.values = values


class Text:
    """A text and the base of the other kinds of cells

    The lines of a text are joined by spaces unless it may have several.
    """

    def __init__(self, name, required=False, multiline=False):
        self.name = name
        self.required = required
        self.multiline = multiline

    def __repr__(self):
        return '%s(%r)' % (self.__class__.__name__, self.name)

    def parse(self, text):
        """Return the value of the text, None when it is empty

        CellError is raised when the text has no value.
        """
        if not text:
            if self.required:
                raise CellError('msg_load_required')
            return None
        return self.convert(text)

    def convert(self, text):
        if not self.multiline:
            text = ' '.join(text.split('\n'))
        return text


class Choice(Text):
    "One of some words"

    def __init__(self, name, choices, required=True):
        super().__init__(name, required=required)
        self.choices = tuple(choices)

    def convert(self, text):
        if text not in self.choices:
            raise CellError(
                'msg_load_choice', value=text,
                choices=', '.join(self.choices))
        return text


class Boolean(Choice):
    "yes or no"

    def __init__(self, name, required=True):
        super().__init__(name, ['yes', 'no'], required=required)

    def convert(self, text):
        return super().convert(text) == 'yes'


class Date(Text):
    "A date written YYYY-MM-DD"

    def convert(self, text):
        if not _date.fullmatch(text):
            raise CellError('msg_load_date', value=text)
        return self._date(text, text)

    @classmethod
    def _date(cls, text, value):
        try:
            date = dt.date.fromisoformat(text)
        except ValueError:
            raise CellError('msg_load_date', value=value) from None
        if date < FIRST_DATE:
            raise CellError(
                'msg_load_date_first', value=value,
                first=FIRST_DATE.isoformat())
        return date


class DateTime(Date):
    """A date and time in UTC written YYYY-MM-DD HH:MM

    The seconds are left out.
    """

    def convert(self, text):
        match = _datetime.fullmatch(text)
        if not match:
            raise CellError('msg_load_datetime', value=text)
        date, hour, minute, second = match.groups()
        try:
            time = dt.time(int(hour), int(minute), int(second or 0))
        except ValueError:
            raise CellError('msg_load_datetime', value=text) from None
        time = time.replace(second=0)
        try:
            date = self._date(date, text)
        except CellError as error:
            if error.message == 'msg_load_date':
                error.message = 'msg_load_datetime'
            raise
        return dt.datetime.combine(date, time)


class Number(Text):
    "A decimal number with a maximum of decimals and bounds"

    def __init__(
            self, name, required=False, digits=2, minimum=Decimal(0),
            maximum=None, positive=False):
        super().__init__(name, required=required)
        self.digits = digits
        self.minimum = minimum
        self.maximum = maximum
        self.positive = positive

    def convert(self, text):
        match = _number.fullmatch(text)
        if not match:
            raise CellError('msg_load_number', value=text)
        value = Decimal(text)
        if len((match.group(1) or '').rstrip('0')) > self.digits:
            raise CellError(
                'msg_load_digits', value=text, digits=self.digits)
        return self.check(value, text)

    def check(self, value, text):
        if self.positive and value <= 0:
            raise CellError('msg_load_positive', value=text)
        if self.minimum is not None and value < self.minimum:
            raise CellError(
                'msg_load_minimum', value=text, minimum=self.minimum)
        if self.maximum is not None and value > self.maximum:
            raise CellError(
                'msg_load_maximum', value=text, maximum=self.maximum)
        return value


class Integer(Number):
    "A whole number with bounds"

    def __init__(
            self, name, required=False, minimum=0, maximum=2 ** 31 - 1,
            positive=False):
        super().__init__(
            name, required=required, digits=0, minimum=minimum,
            maximum=maximum, positive=positive)

    def convert(self, text):
        if not _integer.fullmatch(text):
            raise CellError('msg_load_integer', value=text)
        return self.check(int(text), text)


class Months(Text):
    "Month numbers separated by spaces"

    def convert(self, text):
        months = []
        for word in text.split():
            if (not _integer.fullmatch(word)
                    or not 1 <= int(word) <= 12
                    or int(word) in months):
                raise CellError('msg_load_months', value=text)
            months.append(int(word))
        return tuple(sorted(months))


class Email(Text):
    "An email address"

    def convert(self, text):
        if not _email.fullmatch(text):
            raise CellError('msg_load_email', value=text)
        return text


class URL(Text):
    "The address of a page"

    def convert(self, text):
        if not _url.fullmatch(text):
            raise CellError('msg_load_url', value=text)
        return text


class Reference(Text):
    "The key of a row of other tables or of a record of the database"

    def __init__(self, name, *tables, required=False):
        super().__init__(name, required=required)
        self.tables = tables
