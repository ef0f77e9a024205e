"""The same in other frameworks, one program each, in environments of their own."""
