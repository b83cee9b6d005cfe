"""`dcn demo`: train with the MXNet operators, convert, prove, detect in both frameworks, draw, one page."""
