import dataclasses
import json
import random
from collections import Counter
from itertools import islice

import pytest

from recipes.demo import facts, pieces, texts
from recipes.demo.selection import choose, common_characters, held_out, legible, unique
from recipes.demo.settings import Mix, Settings
from recipes.demo.sources import Document, poems, read, sections

POEM = "静夜思\n李白\n床前明月光，疑是地上霜。\n举头望明月，低头思故乡。"


def test_a_poem_becomes_title_author_and_one_line():
    assert list(poems(POEM)) == ["静夜思\n李白\n床前明月光，疑是地上霜。举头望明月，低头思故乡。"]


def test_a_separate_title_belongs_to_the_next_poem():
    text = "关雎\n\n关关雎鸠，在河之洲。\n窈窕淑女，君子好逑。\n\n葛覃\n\n葛之覃兮，施于中谷。\n"
    assert list(poems(text)) == [
        "关雎\n关关雎鸠，在河之洲。窈窕淑女，君子好逑。",
        "葛覃\n葛之覃兮，施于中谷。",
    ]


def test_a_line_without_punctuation_gets_a_full_stop():
    assert next(iter(poems("甲\n乙\n山一程，水一程\n夜深千帐灯"))).endswith("水一程。夜深千帐灯。")


def test_a_damaged_poem_is_left_out():
    assert not list(poems("甲\n乙\n天地有□气，杂然赋流形。"))


def test_sections_keep_paragraphs_whole_and_in_order():
    paragraphs = [f"{i}" * 30 for i in range(10)]
    cut = list(sections("\n".join(paragraphs), 100))
    assert "\n".join(cut).split("\n") == paragraphs
    assert [len(part.split("\n")) for part in cut] == [4, 4, 2]


def test_a_corpus_of_every_collection(tmp_path):
    files = {
        "mengxue-json/a.json": json.dumps(
            {"content": [{"chapter": "春曉", "author": "孟浩然", "paragraphs": ["春眠不覺曉。"]}]}
        ),
        "poetry/a.txt": POEM,
        "poetry-traditional/b.txt": "江雪\n柳宗元\n千山鳥飛絕，萬徑人蹤滅。",
        "luxun/a.txt": "我在年青时候\u3000也曾经做过许多梦。" * 4,
        "novels/a.txt": "第一回<br/>话说 堕huī坏 天下大势，分久必合。" * 4,
        "classical-prose/a.txt": "学而时习之，不亦说乎。" * 4,
        "laws/a.txt": "第一条为了保护，制定本法。" * 4,
        "modern/tatoeba-cmn-eng.tsv": "Hi.\t你好。\tCC-BY\nWait!\t等等！\n",
        "xiehouyu.json": json.dumps([{"riddle": "泥菩萨过江", "answer": "自身难保"}]),
        "dialogue/a.json": json.dumps({"greetings": [["你好", "嗨"]]}),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    found: dict[str, list[str]] = {}
    for document in read(tmp_path, 60):
        found.setdefault(document.kind, []).append(document.text)
    assert found.pop("primer") == ["春晓\n孟浩然\n春眠不觉晓。"]
    assert found.pop("poem") == [
        POEM.replace("。\n举", "。举"),
        "江雪\n柳宗元\n千山鸟飞绝，万径人踪灭。",
    ]
    assert found.pop("pairs") == ["Hi. 你好。\nWait! 等等！"]
    assert found.pop("riddle") == ["泥菩萨过江——自身难保。"]
    assert found.pop("dialogue") == ["你好\n嗨"]
    assert "话说堕坏天下大势，分久必合。" in found["novel"][0]
    assert found.keys() == {"modern", "novel", "classical", "law"}


def documents(*texts, kind="poem"):
    return [Document(kind, text) for text in texts]


def test_another_edition_of_a_text_is_a_duplicate():
    first, second = documents(
        "春望\n杜甫\n国破山河在，城春草木深。感时花溅泪，恨别鸟惊心。",
        "春望 其一\n国破山河在。城春草木深；感时花溅泪！恨别鸟惊心",
    )
    assert list(unique([first, second], 0.5)) == [first]


def test_one_common_line_is_not_a_duplicate():
    pair = documents(
        "国破山河在，城春草木深。感时花溅泪，恨别鸟惊心。",
        "国破山河在，新句一二三。新句四五六，新句七八九。",
    )
    assert list(unique(pair, 0.5)) == pair


def test_rare_characters_drop_a_poem_but_a_sentence_of_prose():
    common = common_characters(documents("天地玄黄。" * 3, "龘"), 6)
    assert legible(Document("poem", "天地。龘黄。"), common) is None
    assert legible(Document("novel", "天地。龘黄。玄黄。"), common) == Document(
        "novel", "天地。玄黄。"
    )
    assert legible(Document("novel", "龘"), common) is None
    assert legible(Document("poem", "天地\n玄黄"), common) == Document("poem", "天地\n玄黄")


def test_the_share_of_held_out_documents():
    texts = documents(*(f"第{i}首，一二三四五。" for i in range(4_000)))
    share = sum(held_out(document, 5.0) for document in texts) / len(texts)
    assert 0.03 < share < 0.07


def test_holding_out_does_not_depend_on_punctuation():
    pair = documents("国破山河在，城春草木深", "国破山河在。城春草木深！")
    assert held_out(pair[0], 50.0) == held_out(pair[1], 50.0)


def test_each_kind_is_taken_up_to_its_amount_in_any_order():
    texts = documents(*(f"{i:04}" for i in range(50))) + documents("长" * 9, kind="law")
    chosen = choose(texts, {"poem": 40, "law": 100})
    assert len(chosen) == 11
    assert choose(texts[::-1], {"poem": 40, "law": 100}) == chosen


def test_digits_are_separated_for_the_training_of_the_tokenizer():
    assert pieces._segmented("1+12=13\n我有 2个") == ["1 + 1 2 = 1 3", "我 有 ▂ 2 个"]


def size(found, kind):
    return sum(len(document.text) for document in found if document.kind == kind)


def test_generated_text_reaches_its_size_and_is_the_same_every_time():
    mix = Mix(sum_characters=2_000, small_sum_characters=500, fact_characters=1_000)
    made = list(texts.generated(mix, Settings(), 1))
    assert made == list(texts.generated(mix, Settings(), 1))
    assert 2_500 <= size(made, "sum") < 2_900
    assert 1_000 <= size(made, "fact") < 1_300


@pytest.mark.parametrize("name", facts.LISTS)
def test_tables_have_no_duplicates(name):
    names = [left for left, _ in facts.table(name)]
    assert len(names) == len(set(names)) > 50


def prompt_line(name, row):
    form = {"capitals": "{}的首都是{}", "english": "{}的英文是{}", "dynasties": "{}是{}人"}[name]
    return form.format(*row)


def test_a_question_about_a_fact_does_not_contain_its_answer():
    rng = random.Random(0)
    for name in facts.LISTS:
        for row in facts.table(name):
            prompt, answer = facts.prompt(name, row, rng)
            *shots, question = prompt.split("\n")
            assert len(shots) == 3
            assert row[0] in question
            assert question + answer == prompt_line(name, row)
            assert question not in "\n".join(shots)


def test_facts_are_generated_endlessly():
    assert len(list(islice(facts.documents(random.Random(0)), 300))) == 300


def test_the_training_text_has_the_repeats_and_generated_texts_of_the_mix():
    usable = documents(*(f"新{i}首" for i in range(20)))
    mix = Mix(characters={"poem": 30}, repeats={"poem": 2}, fact_characters=100)
    text = texts.training_text(usable, dataclasses.replace(Settings(), mix=mix))
    poems = Counter(document for document in text if document.kind == "poem")
    assert set(poems.values()) == {2}
    assert 30 <= sum(len(document.text) for document in poems) < 40
    assert set(poems) < set(usable)
    assert size(text, "fact") >= 100
    assert text != sorted(text, key=lambda document: document.kind)
