"""Texts that ComfyUI's prompt syntax and tokenizer treat in ways of their own."""

WORDS = (
    "photograph of a woman with long dark hair standing beside a tall window in the late afternoon, warm light falls "
    "across her cheek and shoulder, the room behind her is dim and out of focus, wooden shelves with books, a brass "
    "lamp, a vase with dry flowers, soft shadows, natural skin texture with pores, faint freckles, calm look, eyes "
    "open, head straight, realistic colours, fine film grain, taken with an old lens at full aperture, sharp eyes, "
    "gentle falloff, no retouching, quiet mood, a little dust in the air, deep browns and muted greens, one strand of "
    "hair loose over her forehead, linen shirt, plain collar, nothing else in the picture but light and air"
)
"""120 words, more than 77 tokens."""
POSITIVE, NEGATIVE = "portrait of a man beside a window, warm light", "cartoon, blurry, watermark"
TEXTS: dict[str, tuple[str, str]] = {
    "weights": (r"(a photo:1.3) of [x] ((man)), \(literal\)", NEGATIVE),
    "weights_in_negative": (POSITIVE, "(cartoon:1.4), (blurry), (watermark:0.5), (zero:0)"),
    "long": (WORDS, NEGATIVE),
    "long_weighted": (WORDS.replace("warm light", "(warm light:1.4)").replace("one strand", "((one strand))"), ""),
    "long_both": (WORDS, WORDS.upper() + ", " + WORDS),
    "long_negative": (POSITIVE, WORDS),
    "six_chunks": (" ".join([WORDS] * 3), NEGATIVE),
    "empty": ("", ""),
    "empty_negative": (POSITIVE, ""),
    "unicode": ("un café à la crème, naïve façade, 一位女士的肖像，窗边的光, Ελλάδα, 🙂 👩‍🦱, ½ ﬁne", NEGATIVE),
    "break": ("a man BREAK warm light BREAK, window", NEGATIVE),
    "unbalanced": ("a man (in warm light, ((window), smile :) and [a hat", NEGATIVE),
    "no_embedding": ("a man, embedding:nothing_here, warm light embedding:other.pt:1.2", NEGATIVE),
    "whitespace": ("  a  man\n\nbeside\ta window ,\r\n warm   light \n", NEGATIVE),
    "uppercase": ("PORTRAIT OF A MAN, Warm LIGHT, iPhone, McDonald", NEGATIVE),
}
"""Positive and negative text of the cases about text, by name."""

TRICKY: tuple[str, ...] = (
    " ",
    "a (hat)",
    "((hat))",
    "(((hat:0.9)))",
    "(hat:0) (scarf:-1) (glove:.5) (shoe:1e-1) (sock: 1.2 ) (tie:1_0)",
    "(hat:1.2:1.3) (hat:b) (:1.2) () ( ) (:)",
    "(a (b:1.5) c:1.2), (a (b) c:1.2), (a:1.2)(b:0.8)",
    "(a (b c:1.3) d",
    "a) hat (b:1.3) scarf",
    "a) hat ) (b:1.3) (c:1.2) scarf",
    "[hat], [[scarf:0.5]], {red|blue} hat, <lora:x:1>",
    r"\(hat\) (a hat \(red\):1.2) \\(hat\\) \ \[hat\] C:\hat",
    "hat:1.3, 12345 3.14 a_b a-b a/b 50% #1 @you",
    "don't you'll I'M we'd it's they've O'Neil",
    "... !!! ?! -- ~~ ** == && &amp; &lt;b&gt;",
    "hat <|endoftext|> scarf <|startoftext|> glove",
    "ÀÉÎõü ñ ç straße İstanbul ſ ŉ œuvre",
    "cafe\u0301 A\u030a \u00a0 \u2003 \u200b \u200d \ufeff \u00ad x",
    "一位女士 日本語のテキスト 한국어 ไทย עברית العربية हिन्दी",
    "🙂👍🏽👩‍👩‍👧‍👦🇫🇮 ™ © ① ² ｆｕｌｌ ℌ",
    "tab\tand\vline\nfeed\r\nand \x07 bell \x00 nul",
    "hat " * 75,
    "hat " * 76,
    "hat, " * 80,
    "hat " * 72 + "(one two three four five six seven:1.2) after",
    "hat " * 72 + "(one two three four five six seven eight:1.2) after",
    "hat " * 74 + "(scarf:1.1) (glove:1.2) (shoe:1.3)",
    "(" + "hat " * 160 + ":1.2) scarf",
    "a" * 300,
    "pneumonoultramicroscopicsilicovolcanoconiosis " * 9,
    "hat embedding:nothing",
    "embedding:nothing hat, embedding:nothing, scarf",
    "(embedding:nothing:1.2) hat,embedding:nothing\nembedding:nothing",
    "hat embedding: scarf",
    "hat EMBEDDING:nothing AND scarf BREAK glove NOT shoe",
    "hat embedding:",
)
"""More texts for the tokenizer alone, besides those of TEXTS. The last one makes ComfyUI's tokenizer fail."""
