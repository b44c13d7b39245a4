"""A small vocabulary of CPM's kind, trained on a few sentences written for the tests."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import sentencepiece

from cpm_lm.tokenizer.words import words

SENTENCES = """今天天气不错，我们去公园散步。
今天的天空很蓝，晴朗得没有一片云。
明天可能会下雨，记得带伞。
中国的首都是北京，日本的首都是东京。
问题：美国的首都是哪里？答案：华盛顿。
他说：“你好！”她笑了笑，没有回答。
我在图书馆里读了一本关于历史的书。
这本书很厚，读完要花三天时间。
老师问学生：一加一等于几？学生说：等于二。
小猫在窗台上睡觉，小狗在院子里跑。
春天来了，花开了，草也绿了。
我们应该努力学习，将来为社会服务。
火车从上海开往北京，一共走了五个小时。
hello world，这是 GPT 的一个例子。
1+1=2，2+2=4，3+3=6，4+4=8。
医生说他的病已经好了，可以回家了。
市场里有苹果、香蕉、葡萄和西瓜。
请把门关上，外面的风太大了。"""


def train(directory: Path, sentences: str = SENTENCES, **settings: Any) -> Path:
    """Write `chinese_vocab.model` there and return the directory; `settings` replace ours."""
    text = (" ".join(words(line)).replace("   ", " ▂ ") for line in sentences.splitlines())
    model = io.BytesIO()
    defaults: dict[str, Any] = {
        "model_type": "unigram",
        "normalization_rule_name": "nmt_nfkc",
        "unk_id": 0,
        "bos_id": 1,
        "eos_id": 2,
        "pad_id": -1,
        "user_defined_symbols": "▃,<sep>,<pad>,<mask>,<eod>",
        "vocab_size": 320,
        "hard_vocab_limit": False,
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=text, model_writer=model, **(defaults | settings)
    )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "chinese_vocab.model").write_bytes(model.getvalue())
    return directory
