"""Tests rules that apply to the whole product, such as isolation of districts, permissions, layout and contracts."""
