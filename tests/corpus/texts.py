"""Texts on which tokenizers differ: spaces, line ends, scripts, digits, special tokens inside."""

TEXTS = (
    "hello world",
    "Hello World",
    " leading space",
    "  two leading spaces",
    "trailing space ",
    "two trailing spaces  ",
    "double  and   triple",
    "a\nb",
    "line one\n\nline two\n",
    "\n",
    "\tindented\twith tabs",
    "windows\r\nline",
    "12345 6 7,890.12",
    "v1.2.3-rc4+5",
    "it's we'll THEY'RE don't",
    "punctuation!? (yes): [no]; {x}",
    "你好，世界",  # noqa: RUF001
    "日本語のテキスト 混ぜる",
    "한국어 문장",
    "naïve café",
    "nai\u0308ve cafe\u0301",  # the same, decomposed
    "ﬁne ½ ① Ａ",  # noqa: RUF001 - what NFKC changes
    "emoji 😀 and 👩‍👩‍👧",
    "<s>[INST] x [/INST]",
    "<s> [INST] spaced",
    "text </s> more </s>",
    "glued</s>text",
    " <extra>  around <extra> ",
    "the_extra_word extra extraword",
    "Ünïcödé ΑΒΓ где",
    "▁already▁there",
    "zero\u200bwidth\u00a0and no-break",
    "def f(x):\n    return x ** 2\n",
)
