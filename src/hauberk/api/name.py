"""The grammar of names, labels and annotations (RFC 1123, RFC 1035, Kubernetes qualified names): why a text is none, or None."""

from __future__ import annotations

import re

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_PORT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def label_fault(text: str) -> str | None:
    """Why `text` is not a DNS label."""
    if not text or len(text) > 63:
        return "must have 1 to 63 characters"
    if not _LABEL.fullmatch(text):
        return "may hold only lower-case letters, digits and '-', and must begin and end with a letter or digit"
    return None


def service_name_fault(text: str) -> str | None:
    """Why `text` is not a name of a Service (RFC 1035: a label that begins with a letter)."""
    if fault := label_fault(text):
        return fault
    return None if text[0].isalpha() else "must begin with a letter"


def subdomain_fault(text: str) -> str | None:
    """Why `text` is not a lower-case DNS name."""
    if not text or len(text) > 253:
        return "must have 1 to 253 characters"
    if not _SUBDOMAIN.fullmatch(text):
        return "may hold only lower-case letters, digits, '-' and '.', and each part must begin and end with a letter or digit"
    return None


def port_name_fault(text: str) -> str | None:
    """Why `text` is not a name of a container's port (IANA service name)."""
    if not text or len(text) > 15:
        return "must have 1 to 15 characters"
    if not _PORT_NAME.fullmatch(text) or "--" in text:
        return "may hold only lower-case letters, digits and single '-', and must begin and end with a letter or digit"
    return None if any(character.isalpha() for character in text) else "must hold a letter"


def label_key_fault(text: str) -> str | None:
    """Why `text` is not a key of a label or annotation."""
    prefix, slash, name = text.rpartition("/")
    if slash and (fault := subdomain_fault(prefix)):
        return f"the part before '/' {fault}"
    if not name or len(name) > 63 or not _QUALIFIED.fullmatch(name):
        return "must have 1 to 63 letters, digits, '-', '_', '.', and begin and end with a letter or digit"
    return None


def label_value_fault(text: str) -> str | None:
    """Why `text` is not a value of a label; the empty text is one."""
    if text and (len(text) > 63 or not _QUALIFIED.fullmatch(text)):
        return "must be empty or have up to 63 letters, digits, '-', '_', '.', and begin and end with a letter or digit"
    return None


def variable_fault(text: str) -> str | None:
    """Why `text` is not a name of an environment variable."""
    return None if _VARIABLE.fullmatch(text) else "may hold only letters, digits, '_', '-', '.', and must not begin with a digit"
