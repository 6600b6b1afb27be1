from dataclasses import replace

import anyio
import pytest

from ibid.catalogue import EXTRACTIVE, Entry
from ibid.chat.extractive import MOST_ENCODED, ExtractiveModel
from ibid.chat.fuses import FAILURES, CircuitOpen, Fuse
from ibid.chat.port import DraftSentence, KeyMissing, ModelFailed, ModelUnusable, Passage, Prompt
from ibid.chat.registry import ChatModels
from ibid.embedding.hashing import HashingEmbedder
from ibid.settings import Settings
from ibid.terms import share, stem, terms, weights

LEAVE = Passage(
    1,
    "Leave",
    "Leave\n\nEmployees receive 20 days of paid leave. How much leave is there? Ask the office for details of travel.",
)
SICK = Passage(
    2, "Sick", "Sick pay is granted from the first day of illness. Employees receive 20 days of paid leave."
)


def draft(
    question: str, *passages: Passage, most: int = 4, embedder: HashingEmbedder | None = None
) -> list[DraftSentence]:
    model = ExtractiveModel(lambda: embedder or HashingEmbedder())

    async def collect() -> list[DraftSentence]:
        return [sentence async for sentence in model.draft(Prompt(question, passages, "test", most))]

    return anyio.run(collect)


class TestDraft:
    def test_quotes_word_for_word(self):
        drafted = draft("How many days of paid leave do employees receive?", LEAVE, SICK)
        assert drafted[0] == DraftSentence(
            "Employees receive 20 days of paid leave.", (1,), ("Employees receive 20 days of paid leave.",)
        )
        texts = {1: LEAVE.text, 2: SICK.text}
        assert all(sentence.text in texts[sentence.passages[0]] for sentence in drafted)

    def test_says_nothing_twice(self):
        drafted = [sentence.text for sentence in draft("How many days of paid leave?", LEAVE, SICK)]
        assert drafted.count("Employees receive 20 days of paid leave.") == 1

    def test_leaves_out_headings_and_questions(self):
        drafted = {sentence.text for sentence in draft("How much leave is there?", LEAVE)}
        assert drafted.isdisjoint({"Leave", "How much leave is there?"})
        assert drafted

    def test_never_more_than_asked(self):
        many = Passage(
            1, "t", " ".join(f"The tide table has a row number {n} for the day." for n in range(20))
        )
        assert len(draft("Which row of the tide table?", many, most=2)) <= 2

    def test_quotes_a_row_of_a_table(self):
        table = Passage(1, "Fees", "Plan | Fee\n----- | -----\nStandard | 30 dollars\nPlus | 55 dollars")
        drafted = draft("What is the fee of the Plus plan?", table)
        assert "Plus | 55 dollars" in [sentence.text for sentence in drafted]
        assert all("---" not in sentence.text for sentence in drafted)

    def test_sentences_of_a_passage_keep_its_order(self):
        text = "First the tide falls slowly in the morning. Then the tide rises slowly in the evening."
        drafted = [
            sentence.text
            for sentence in draft("When does the tide rise and fall slowly?", Passage(1, "t", text))
        ]
        assert [text.index(one) for one in drafted] == sorted(text.index(one) for one in drafted)
        assert len(drafted) == 2

    @pytest.mark.parametrize("text", ["", "\n\n", "-----", "☃ ☃"])
    def test_of_nothing_is_nothing(self, text: str):
        assert draft("What?", Passage(1, "t", text)) == []

    def test_of_no_passages_is_nothing(self):
        assert draft("What?") == []

    def test_fragments_if_there_is_nothing_else(self):
        assert [sentence.text for sentence in draft("Which colour?", Passage(1, "t", "blue"))] == ["blue"]

    def test_encodes_a_bounded_number_of_sentences(self):
        encoded = []

        class Counting(HashingEmbedder):
            def encode(self, texts):
                encoded.extend(texts)
                return super().encode(texts)

        many = Passage(
            1, "t", " ".join(f"The tide table has a row number {n} for the day." for n in range(500))
        )
        assert draft("Which row?", many, embedder=Counting())
        assert 0 < len(encoded) <= MOST_ENCODED + 1


class TestRegistry:
    REMOTE = Entry(name="m", provider="openai", model="m", key="mine")

    def models(self, **settings: object) -> ChatModels:
        return ChatModels(HashingEmbedder, Settings(**settings))

    def test_makes_each_once(self):
        models = self.models()
        assert models.get(EXTRACTIVE) is models.get(EXTRACTIVE)
        assert models.get(EXTRACTIVE).name == "extractive"

    def test_an_entry_that_changed_is_made_anew(self):
        models = self.models(provider_keys={"mine": "k"})
        assert models.get(self.REMOTE) is models.get(self.REMOTE)
        assert models.get(self.REMOTE) is not models.get(replace(self.REMOTE, model="n"))

    def test_a_key_that_the_settings_lack(self):
        with pytest.raises(KeyMissing, match="IBID_PROVIDER_KEYS"):
            self.models(provider_keys={"yours": "k"}).get(self.REMOTE)

    def test_failing_again_and_again(self):
        models = self.models(model_pause_seconds=1000)
        for _ in range(FAILURES):
            with pytest.raises(ModelFailed), models.guarded(self.REMOTE):
                raise ModelFailed("down", "unavailable")
        with pytest.raises(CircuitOpen), models.guarded(self.REMOTE):
            pytest.fail("asked all the same")
        with models.guarded(replace(self.REMOTE, name="another")):
            pass

    @pytest.mark.parametrize("base", ["https://models.example/v1", "https://models.example/v1/"])
    def test_a_key_for_an_address_of_its_own(self, base: str):
        models = self.models(provider_keys={"mine": {"key": "k", "base_url": base}})
        for address in ("https://models.example/v1", "https://models.example/v1/deeper"):
            models.get(replace(self.REMOTE, base_url=address))
        for elsewhere in (
            None,
            "https://models.example/v10",
            "https://models.example.org/v1",
            "https://evil.example",
        ):
            with pytest.raises(KeyMissing, match="not for the address"):
                models.get(replace(self.REMOTE, base_url=elsewhere))

    def test_a_key_without_an_address_goes_to_the_provider_alone(self):
        with pytest.raises(KeyMissing, match="not for the address"):
            self.models(provider_keys={"mine": "k"}).get(
                replace(self.REMOTE, base_url="https://evil.example")
            )

    def test_an_address_that_is_none(self):
        with pytest.raises(ModelUnusable):
            self.models().get(replace(self.REMOTE, key=None, base_url="http://localhost:8O80/v1"))

    def test_what_is_no_fault_of_the_model_mends_nothing_and_breaks_nothing(self):
        models = self.models()
        for _ in range(FAILURES):
            with pytest.raises(ModelFailed), models.guarded(self.REMOTE):
                raise ModelFailed("not this question", "refused")
            with pytest.raises(RuntimeError), models.guarded(self.REMOTE):
                raise RuntimeError("a mistake of ours")
            with pytest.raises(ModelFailed), models.guarded(self.REMOTE):
                raise ModelFailed("down", "unavailable")
        with pytest.raises(CircuitOpen), models.guarded(self.REMOTE):
            pytest.fail("asked all the same")

    def test_the_last_resort_is_always_asked(self):
        models = self.models()
        for _ in range(2 * FAILURES):
            with pytest.raises(ModelFailed), models.guarded(EXTRACTIVE):
                raise ModelFailed("down", "unavailable")


class TestFuse:
    def test_lets_one_through_after_the_pause(self):
        at = [0.0]
        fuse = Fuse(10.0, clock=lambda: at[0])
        for _ in range(FAILURES):
            fuse.ask()
            fuse.note("failed")
        with pytest.raises(CircuitOpen):
            fuse.ask()
        at[0] = 10.0
        fuse.ask()
        with pytest.raises(CircuitOpen):
            fuse.ask()
        fuse.note("failed")
        at[0] = 19.0
        with pytest.raises(CircuitOpen):
            fuse.ask()
        at[0] = 20.0
        fuse.ask()
        fuse.note("worked")
        for _ in range(FAILURES):
            fuse.ask()

    def test_a_success_counts_anew(self):
        fuse = Fuse(10.0)
        for how in ("failed", "failed", "worked", "failed", "neither", "failed"):
            fuse.ask()
            fuse.note(how)
        fuse.ask()


class TestTerms:
    @pytest.mark.parametrize(
        "family",
        [
            "cover covers covered covering",
            "policy policies",
            "include included includes including",
            "plan planned plans",
            "box boxes",
            "employee employees",
            "employee's employee",
        ],
    )
    def test_inflections_meet(self, family: str):
        assert len({stem(word) for word in family.split()}) == 1

    def test_stop_words_are_left_out(self):
        assert terms("What is the well-known plan's Co-pay?") == ["well", "known", "plan", "co", "pay"]

    def test_rare_terms_weigh_more(self):
        weight = weights(["tide", "moon"], [["tide"], ["tide", "moon"], ["tide"]])
        assert weight["moon"] > weight["tide"] > 0

    def test_share(self):
        assert share({"a": 3.0, "b": 1.0}, ["a", "a", "c"]) == 0.75
        assert share({}, ["a"]) == 0.0
