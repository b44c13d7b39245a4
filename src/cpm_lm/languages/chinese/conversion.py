"""Chinese texts of converting checkpoints (`checkpoints`, without its file formats)."""

TEXTS = {
    "{path} cannot be read as a model configuration: it is {known}": (
        "无法把 {path} 读作模型配置：它是{known}"
    ),
    "{path} cannot be read as a model configuration: {error}": "无法把 {path} 读作模型配置：{error}",
    "{path} holds {name}, expected a JSON object": "{path} 的内容是 {name}，应为 JSON 对象",
    "Megatron pads the embedding with rows that have no piece; give --trim-vocabulary "
    "(trim_vocabulary=True) to cut the surplus rows": (
        "Megatron 会在词嵌入末尾补上没有对应词元的行；加上 --trim-vocabulary（trim_vocabulary=True）去掉多余的行"
    ),
    "text_style is {style!r}, but there is no vocabulary; give its directory (--tokenizer)": (
        "指定了 text_style {style!r}，但没有词表；请给出词表的目录（--tokenizer）"
    ),
    "the source's matrices are already quantized to {packed}; that error remains, and the recorded "
    "errors are relative to the quantized matrices": (
        "来源的矩阵已经量化为 {packed}；量化误差仍在，记录的误差是相对于量化后的矩阵的"
    ),
    "text style {text_style}, because {text_style_evidence}; if the model was trained with "
    "another, choose it: --text-style ({styles})": (
        "文本格式为 {text_style}，依据是{text_style_evidence}；如果模型用另一种格式训练，请指定：--text-style（{styles}）"
    ),
    "no {config} lies beside {source_files}; give the model's configuration (--config), or its "
    "number of heads (--heads) if the rest of it is CPM's: the tanh form of GELU and an epsilon of "
    "1e-5": (
        "{source_files} 旁边没有 {config}；请给出模型配置（--config），"
        "如果其余与 CPM 相同（tanh 形式的 GELU，epsilon 为 1e-5），给出头数即可（--heads）"
    ),
    "heads is {heads}, but the configuration says {n_head}": "heads 为 {heads}，而配置中是 {n_head}",
    "n_head is {n_head}, but the files keep queries, keys and values by head, and were read with "
    "{heads} heads; open them with the model's own number": (
        "n_head 为 {n_head}，但文件按头存放查询、键和值，且是按 {heads} 个头读取的；请用模型自己的头数打开"
    ),
    "{n} {stated}, expected {found}": "{n} 为 {stated}，应为 {found}",
    "the configuration does not match the tensors: {wrong}": "配置与张量不符：{wrong}",
    "{n_head} heads cannot have been split over {ranks} ranks; give the model's own number of heads": (
        "{n_head} 个头无法分到 {ranks} 个分片；请给出模型自己的头数"
    ),
    "the vocabulary in {directory} has {size:,} pieces, but the word embedding has {vocab_size:,} "
    "rows; give the vocabulary this model was trained with": (
        "{directory} 的词表有 {size:,} 个词元，而词嵌入有 {vocab_size:,} 行；请给出训练该模型时用的词表"
    ),
    ", or if this is it: {trim}": "；如果就是这个词表：{trim}",
    "the files in {directory} do not tell the text style, which depends on the trainer; choose it: "
    "--text-style {styles} (uer: [CLS] before a prompt, [SEP] ends a text; gpt2-chinese, by that "
    "project's train.py: nothing before a prompt, [SEP] is a newline, [CLS] ends a text)": (
        "从 {directory} 的文件看不出文本格式，它取决于训练程序；请指定：--text-style {styles}"
        "（uer：提示前有 [CLS]，[SEP] 结束文本；gpt2-chinese，即该项目的 train.py：提示前没有词元，"
        "[SEP] 是换行，[CLS] 结束文本）"
    ),
    "--trim-vocabulary needs the number of pieces: give the vocabulary (--tokenizer) or a "
    "configuration that says it (--config)": (
        "--trim-vocabulary 需要知道词元数：请给出词表（--tokenizer），或写明词元数的配置（--config）"
    ),
    "the vocabulary beside the weights is {what}: what is written has none": (
        "权重旁边的词表是{what}：写出的模型没有词表"
    ),
    "the disk of {parent} has {free:,} bytes free; the store needs {needed:,}: make room, or "
    "choose a smaller number format": (
        "{parent} 所在的磁盘剩余 {free:,} 字节，需要 {needed:,} 字节：请腾出空间，或选较小的权重格式"
    ),
    "weights is {weights!r}; expected one of {allowed}": "weights 为 {weights!r}；应为以下之一：{allowed}",
    "{name} holds {count} numbers that are not finite (NaN or infinite)": (
        "{name} 有 {count} 个数不是有限数（NaN 或无穷大）"
    ),
    "to is {to!r}; expected one of {forms}": "to 为 {to!r}；应为以下之一：{forms}",
    " with to={to!r}": "（to={to!r}）",
    "weights is {weights!r}{where}; expected one of {formats}": (
        "weights 为 {weights!r}{where}；应为以下之一：{formats}"
    ),
    # Digests
    "convert or download the model again": "请重新转换或下载模型",
    "{path} is damaged: {error}; {repair_hint}": "{path} 已损坏：{error}；{repair_hint}",
    "{path} is damaged: it names no files; {repair_hint}": "{path} 已损坏：没有列出文件；{repair_hint}",
    "a file's name, bytes or sha256 has the wrong type": "有文件的 name、bytes 或 sha256 类型不对",
    "a file is named {name!r}": "有文件名为 {name!r}",
    "has {found:,} bytes, {bytes:,} were written": "有 {found:,} 字节，写入时是 {bytes:,} 字节",
    "has changed since it was written: its sha256 differs": "写入后有改动：sha256 不同",
    "is missing": "不存在",
    "cannot be read: {strerror}": "无法读取：{strerror}",
    # Known models and forms
    "the configuration names the erf form of GELU ('gelu'), and it is used; CPM was trained with "
    "the tanh form ('gelu_new'): if these are CPM's weights, give a configuration with that form "
    "(--config)": (
        "配置中的 GELU 是 erf 形式（'gelu'），已按此使用；CPM 训练时用的是 tanh 形式（'gelu_new'）："
        "如果这是 CPM 的权重，请给出写明该形式的配置（--config）"
    ),
    " (the tokenizer's: {correct})": "（词表中是 {correct}）",
    "the tokenizer's are used": "已改用词表中的编号",
    "there is no tokenizer to correct them": "没有词表，无法更正",
    "the configuration names wrong special ids: {wrong}; {instead}": (
        "配置中的特殊词元编号有误：{wrong}；{instead}"
    ),
    "an adapter (LoRA or another kind of PEFT), not a whole model": (
        "适配器（LoRA 或其他 PEFT），不是完整的模型"
    ),
    "merge it into its model (PEFT: merge_and_unload(), then save_pretrained()) and convert the "
    "result": "请先合并到模型里（PEFT：merge_and_unload()，再 save_pretrained()），再转换结果",
    "the stages of pipeline parallelism (pipeline_model_parallel), one file for each part of the "
    "layers": "流水线并行（pipeline_model_parallel）的各段，每个文件是一部分层",
    "merge them with the tools of the program that trained it, to one pipeline stage (Megatron-LM: "
    "tools/checkpoint, --target-pipeline-parallel-size 1; DeepSpeed: ds_to_universal or "
    "Megatron-DeepSpeed's converter to Hugging Face's form)": (
        "请用训练程序的工具合并成一段（Megatron-LM：tools/checkpoint，--target-pipeline-parallel-size 1；"
        "DeepSpeed：ds_to_universal，或 Megatron-DeepSpeed 转到 Hugging Face 格式的工具）"
    ),
    "the partitions of DeepSpeed's ZeRO, in which each rank holds a part of the weights": (
        "DeepSpeed ZeRO 的分区，每个分区有一部分权重"
    ),
    "join them with the zero_to_fp32.py that DeepSpeed puts beside them (python zero_to_fp32.py . "
    "pytorch_model.bin) and convert the file it writes": (
        "请用 DeepSpeed 放在旁边的 zero_to_fp32.py 合并（python zero_to_fp32.py . pytorch_model.bin），"
        "再转换它写出的文件"
    ),
    "a distributed checkpoint of PyTorch (torch.distributed.checkpoint, FSDP, Megatron-Core)": (
        "PyTorch 的分布式检查点（torch.distributed.checkpoint、FSDP、Megatron-Core）"
    ),
    "join it with python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIRECTORY "
    "FILE.pt, and convert that file": (
        "请用 python -m torch.distributed.checkpoint.format_utils dcp_to_torch 目录 文件.pt 合并，再转换该文件"
    ),
    "weights of Flax (JAX)": "Flax（JAX）的权重",
    "load them with transformers 4 (from_pretrained(..., from_flax=True)), save_pretrained(), and "
    "convert the result": (
        "请用 transformers 4 加载（from_pretrained(..., from_flax=True)），save_pretrained() 后再转换"
    ),
    "weights of Paddle": "Paddle 的权重",
    "get the PyTorch or safetensors files of this model, or convert them with PaddleNLP's own tools "
    "to PyTorch": "请获取该模型的 PyTorch 或 safetensors 文件，或用 PaddleNLP 自己的工具转成 PyTorch 格式",
    "weights of llama.cpp (GGUF)": "llama.cpp 的权重（GGUF）",
    "get the PyTorch or safetensors files of this model": "请获取该模型的 PyTorch 或 safetensors 文件",
    "an ONNX graph": "ONNX 计算图",
    "weights of BMInf, in 8 bits and its own format": "BMInf 自己格式的 8 位权重",
    "get CPM's own files (mp_rank_00_model_states.pt, mp_rank_01_model_states.pt), which BMInf's "
    "were made from": (
        "请获取 CPM 官方文件（mp_rank_00_model_states.pt、mp_rank_01_model_states.pt），BMInf 的权重由它们转成"
    ),
    "a checkpoint of TensorFlow 1": "TensorFlow 1 的检查点",
    "convert it with transformers 4 (convert_gpt2_original_tf_checkpoint_to_pytorch) first": (
        "请先用 transformers 4 转换（convert_gpt2_original_tf_checkpoint_to_pytorch）"
    ),
    "a Keras file": "Keras 文件",
    "give the converted model that it was exported from": "请给出导出它的那个转换好的模型",
    "a model for another inference runtime": "其他推理引擎的模型",
    "the state of an optimizer, without the weights": "优化器的状态，不含权重",
    "give the directory that also has the weights": "请给出同时有权重的目录",
    "the files do not record how many attention heads a model of width {n_embd} has; give heads "
    "(--heads) or a configuration (--config)": (
        "文件没有记录宽度为 {n_embd} 的模型有多少注意力头；请给出头数（--heads）或配置（--config）"
    ),
    "the width is CPM-LM's, but there are {parameters:,} parameters, expected {cpm_large:,}: part "
    "of the model is missing. If it is another model, give its number of heads (--heads)": (
        "宽度与 CPM-LM 相同，但有 {parameters:,} 个参数，应有 {cpm_large:,} 个：模型缺了一部分。"
        "如果是另一个模型，请给出头数（--heads）"
    ),
    "{path} is a cache of several models; give one of {names}": "{path} 是多个模型的缓存；请给出其中之一：{names}",
    "{snapshots} holds several snapshots or none, and refs/main names none of them: found {listed}; "
    "give one of these directories, or download the model again": (
        "{snapshots} 有多个快照或没有快照，refs/main 没有指明哪一个：其中有 {listed}；请给出其中一个目录，或重新下载模型"
    ),
    "{release_name} has {n_published} files; of the files found only rank {same} matches: the "
    "others are damaged or from another model; download them again": (
        "{release_name} 有 {n_published} 个文件；现有文件中只有分片 {same} 相符：其余的已损坏或属于另一个模型，请重新下载"
    ),
    # Hugging Face
    "{directory} has weights but no {config}; get it from the same publisher, or give {file_name} "
    "itself and a configuration (--config)": (
        "{directory} 有权重但没有 {config}；请从同一发布者获取，或直接给出 {file_name} 和配置（--config）"
    ),
    "Are all its files from the same download?": "所有文件都来自同一次下载吗？",
    "match {config}": "符合 {config}",
    "hold one complete GPT-2": "包含一个完整的 GPT-2",
    "{file} does not {expected} ({n_problems} problems): {problems}. {download}": (
        "{file} 不{expected}（{n_problems} 处）：{problems}。{download}"
    ),
    "Get the model in 16 or 32 bits": "请获取 16 位或 32 位的模型",
    "{path} has the model type {kind!r}; expected 'gpt2'": "{path} 的模型类型为 {kind!r}；应为 'gpt2'",
    "{short} occurs twice, with {prefix!a} and without": "{short} 出现两次，一次带 {prefix!a}，一次不带",
    "there is no {embedding}; {lm_head}, which is the same matrix, is used in its place": (
        "没有 {embedding}；已用同一个矩阵 {lm_head} 代替"
    ),
    "{file} is no GPT-2: expected a matrix {name}, found {shape}": (
        "{file} 不是 GPT-2：应有矩阵 {name}，实际有 {shape}"
    ),
    "{name} has shape {tensor_shape}, expected {expected}": "{name} 的形状为 {tensor_shape}，应为 {expected}",
    "{name} is {tensor_dtype}, expected {floats}": "{name} 是 {tensor_dtype}，应为 {floats}",
    "{name} is missing": "缺少 {name}",
    "{name} is not part of this model": "{name} 不属于这个模型",
    "{lm_head} is missing, but {config} says tie_word_embeddings is false": (
        "缺少 {lm_head}，而 {config} 中 tie_word_embeddings 为 false"
    ),
    "{lm_head} is {head_dtype} {head_shape}, expected a copy of the word embedding": (
        "{lm_head} 是 {head_dtype} {head_shape}，应与词嵌入相同"
    ),
    "{lm_head} differs from the word embedding in {different:,} of {n_array:,} rows: a model with a "
    "separate output matrix is not supported": (
        "{lm_head} 与词嵌入的 {n_array:,} 行中有 {different:,} 行不同：暂不支持输出矩阵独立的模型"
    ),
    "{config} has keys that change nothing here and were passed over: {keys}": (
        "{config} 中的这些键在此没有作用，已略过：{keys}"
    ),
    "the biases of queries, keys and values look like a plain concatenation of two ranks' biases, "
    "an error of an early public conversion; such a model writes worse text: convert it again from "
    "the original files, and compare with cpm verify --against": (
        "查询、键和值的偏置像是两个分片的偏置直接拼接而成，这是早期一个公开转换的错误，会使文字变差："
        "请用官方文件重新转换，并用 cpm verify --against 比较"
    ),
    # Megatron
    "the shards were written at different iterations: ": "各分片的训练步数不同：",
    "{directory} is not one complete model ({n_problems} problems): {problems}. Are all its files "
    "from the same download?": (
        "{directory} 不是一个完整的模型（{n_problems} 处）：{problems}。所有文件都来自同一次下载吗？"
    ),
    "{path} holds {root}; expected a dictionary with the model's tensors": (
        "{path} 的内容是 {root}；应为含有模型张量的字典"
    ),
    "{path} holds tensors twice, with {prefix!a} before and without": (
        "{path} 中的张量出现两次，一次前面有 {prefix!a}，一次没有"
    ),
    "{path} is not a GPT of the original code: expected the tensor {embedding}, found {listing}": (
        "{path} 不是官方代码的 GPT：应有张量 {embedding}，实际有 {listing}"
    ),
    "{path} is not a GPT of the original code: expected the tensor {embedding}, found {listing} "
    "(the nested names of newer Megatron versions, which are not supported): convert it to Hugging "
    "Face's GPT-2 with Megatron's own tools first": (
        "{path} 不是官方代码的 GPT：应有张量 {embedding}，实际有 {listing}"
        "（较新的 Megatron 的嵌套名字，暂不支持）：请先用 Megatron 自己的工具转成 Hugging Face 的 GPT-2"
    ),
    "{path} holds no weights: expected the key 'module' or 'model', found {held}": (
        "{path} 没有权重：应有键 'module' 或 'model'，实际有 {held}"
    ),
    "{path} has checkpoint_version {value}; expected one of {versions}: how it keeps queries, keys "
    "and values is not known": (
        "{path} 的 checkpoint_version 为 {value}；应为以下之一：{versions}：不知道它如何存放查询、键和值"
    ),
    "{first_path} has checkpoint_version {version}, but {different_path} {other}; they are not of "
    "one model": (
        "{first_path} 的 checkpoint_version 为 {version}，而 {different_path} 为 {other}；它们不属于同一个模型"
    ),
    "heads is {heads}, but {first_path} says that it has {recorded}, and keeps queries, keys and "
    "values by head": "heads 为 {heads}，但 {first_path} 记录为 {recorded}，且按头存放查询、键和值",
    "{first_path} has checkpoint_version {version}: queries, keys and values are interleaved by "
    "head, but the file does not say how many heads there are; give heads (--heads) to cpm convert": (
        "{first_path} 的 checkpoint_version 为 {version}：查询、键和值按头交错存放，"
        "但文件没有记录头数；请给 cpm convert 加上头数（--heads）"
    ),
    "{heads} heads cannot have been split over {n_shards} ranks of width {width}; give the model's "
    "own number of heads (--heads)": (
        "{heads} 个头无法分到 {n_shards} 个宽度为 {width} 的分片；请给出模型自己的头数（--heads）"
    ),
    "{a_path} and {b_path} hold the same weights; one of them is a copy of the other under a wrong "
    "name": "{a_path} 与 {b_path} 的权重相同；其中一个是另一个的副本，名字有误",
    "its shapes": "形状",
    "too many": "太多",
    "shards are {lack}: {shard_path} is one of {expected} according to {basis}, found {n_shards}: "
    "{found}": (
        "分片{lack}：根据{basis}，{shard_path} 是 {expected} 个分片之一，实际有 {n_shards} 个：{found}"
    ),
    "{first_path} has no layers: found {listing}": "{first_path} 没有层：其中有 {listing}",
    "rank {rank}: {name}": "分片 {rank}：{name}",
    "shape {tensor_shape}": "形状 {tensor_shape}",
    "{shard_path}: expected a matrix {name}, found {found}": "{shard_path}：应有矩阵 {name}，实际是 {found}",
    "mp_rank_XX_model_states.pt or mp_rank_XX/model_optim_rng.pt": (
        "mp_rank_XX_model_states.pt 或 mp_rank_XX/model_optim_rng.pt"
    ),
    "{path} is a file of no kind that is read; expected the directory of a checkpoint, or a weight "
    "file (.safetensors, .bin, .pt, .h5)": (
        "{path} 不是可读取的文件类型；应为检查点的目录，或权重文件（.safetensors、.bin、.pt、.h5）"
    ),
    "{folder} holds no shards: expected {expected_files}, found {listing}": (
        "{folder} 没有分片：应有 {expected_files}，实际有 {listing}"
    ),
    "{folder} holds shards of two layouts; give each its own directory": (
        "{folder} 混有两种布局的分片；请分开放在各自的目录"
    ),
    "{folder} holds rank {duplicates} twice: {names}": "{folder} 中分片 {duplicates} 出现两次：{names}",
    "{folder} lacks the shard of rank {missing}: found ranks {ranks}; get the missing file from the "
    "same publisher": "{folder} 缺少分片 {missing}：现有分片 {ranks}；请从同一发布者获取缺少的文件",
    "{folder} holds several training steps and no {tracker}: give one of {names}": (
        "{folder} 有多个训练步的检查点，却没有 {tracker}：请给出其中之一：{names}"
    ),
    "{folder} holds no checkpoint: expected a converted model or Hugging Face's GPT-2 (config.json "
    "and weights), a SavedModel, or CPM's own files ({tracker} or {expected_files}), found "
    "{listing}": (
        "{folder} 没有检查点：应为转换好的模型或 Hugging Face 的 GPT-2（config.json 和权重）、SavedModel，"
        "或 CPM 官方文件（{tracker} 或 {expected_files}），实际有 {listing}"
    ),
    "{tracker} holds {step!a}; expected a training step, such as 80000": (
        "{tracker} 的内容是 {step!a}；应为训练步数，例如 80000"
    ),
    "{tracker} names the step {step!r}, but there is no directory {step} or {numbered}; found "
    "{listing}": "{tracker} 指明训练步 {step!r}，但没有目录 {step} 或 {numbered}；其中有 {listing}",
    "{name} (a link to a missing file)": "{name}（链接指向的文件不存在）",
    "rank {rank} lacks {megatron}": "分片 {rank} 缺少 {megatron}",
    "rank {rank} has {name}, which is not part of this model": "分片 {rank} 有 {name}，不属于这个模型",
    "{n_head} heads and {vocab_size:,} pieces cannot be split evenly over {ranks} ranks; possible "
    "numbers are {counts}": (
        "{n_head} 个头和 {vocab_size:,} 个词元无法平分为 {ranks} 份；可以分为 {counts} 份"
    ),
    "rank {rank}: {megatron}": "分片 {rank}：{megatron}",
    "{where} has shape {part_shape}, expected {expected}": "{where} 的形状为 {part_shape}，应为 {expected}",
    "{where} is {part_dtype}, expected {wanted}": "{where} 是 {part_dtype}，应为 {wanted}",
    "{where} differs from rank 0's copy; all ranks must hold the same": (
        "{where} 与分片 0 的不同；所有分片应当相同"
    ),
    "the weights cannot be stored as {weights}: {problems} (rank {rank})": (
        "权重无法存为 {weights}：{problems}（分片 {rank}）"
    ),
    # Files of tensors
    "{path} holds {root}{keys}; expected a dictionary of tensors by GPT-2's names, by itself or "
    "under one more key: save model.state_dict(), not the model itself": (
        "{path} 的内容是 {root}{keys}；应为以 GPT-2 的名字为键的张量字典，可以再套一层键："
        "请保存 model.state_dict()，而不是模型本身"
    ),
    " of {held}": "，其中有 {held}",
    "{path} holds several models, under {outer}; save the one that is meant by itself": (
        "{path} 有多个模型，在 {outer} 之下；请单独保存需要的那个"
    ),
    "{file_name} holds objects beside the weights that were not read, and nothing of them was "
    "imported or run: {listed}": (
        "{file_name} 在权重之外还有其他对象，没有读取，也没有导入或运行其中任何内容：{listed}"
    ),
    "{name} is {value}": "{name} 是 {value}",
    "{path}: among the weights these are no tensors: {odd}; expected tensors only: save the model's "
    "state_dict() again, or get it from its publisher": (
        "{path}：权重中有些不是张量：{odd}；应当只有张量：请重新保存模型的 state_dict()，或从发布者获取"
    ),
    # Stores
    "is a file": "是文件",
    "does not exist": "不存在",
    "{directory} {found}; expected a directory from cpm convert": (
        "{directory} {found}；应为 cpm convert 生成的目录"
    ),
    "{directory} is not a converted model: it has no {name}; convert a published checkpoint with "
    "cpm convert": "{directory} 不是转换好的模型：没有 {name}；请用 cpm convert 转换已发布的检查点",
    "{directory} is a Hugging Face model, not a converted model; convert it with cpm convert": (
        "{directory} 是 Hugging Face 模型，还没有转换；请用 cpm convert 转换"
    ),
    "{directory} does not match {config}: {problems}": "{directory} 与 {config} 不符：{problems}",
    "{name} of {directory} has {bits} bits and scales; use Store.packed or Store.float32": (
        "{directory} 的 {name} 是 {bits} 位加缩放系数；请用 Store.packed 或 Store.float32"
    ),
    "{directory} has no tensor {name!r}": "{directory} 没有张量 {name!r}",
    "the weights cannot be stored as {weights}: {problems}": "权重无法存为 {weights}：{problems}",
    "{name} holds {overflow} values too large for {dtype}": "{name} 有 {overflow} 个数超出 {dtype} 的范围",
    "; choose weights='f32'": "；请选 weights='f32'",
    "{directory} says {quantization} {found}, expected {known}; convert the model again": (
        "{directory} 的 {quantization} 为 {found}，应为 {known}；请重新转换模型"
    ),
    "{name} has shape {tensors_shape}, expected {shape}": "{name} 的形状为 {tensors_shape}，应为 {shape}",
    "number formats {dtypes}, expected one of {weights}": "权重格式为 {dtypes}，应为以下之一：{weights}",
    # TensorFlow
    "{directory} was made by cpm export, but its {extra}/{config} is missing; copy it there from "
    "the exported model": (
        "{directory} 由 cpm export 生成，但缺少 {extra}/{config}；请从导出时的模型复制过来"
    ),
    "{directory} does not hold the variables of one GPT ({n_problems} problems): {problems}": (
        "{directory} 中不是一个 GPT 的变量（{n_problems} 处）：{problems}"
    ),
    "{directory} was not written by TensorFlow 2: no {graph}": "{directory} 不是 TensorFlow 2 写出的：没有 {graph}",
    "{directory} is damaged: {error}": "{directory} 已损坏：{error}",
    "{directory} has several variables with one name": "{directory} 有多个变量同名",
    "{name} is {entries_dtype}": "{name} 是 {entries_dtype}",
    "{directory}: {not_floats}; expected only weights in {floats}": "{directory}：{not_floats}；权重应为 {floats}",
    "{directory} is not a GPT of the first TensorFlow port or of cpm export: expected a matrix "
    "{name} among its variables, found {listed}": (
        "{directory} 不是第一个 TensorFlow 移植版或 cpm export 的 GPT：变量中应有矩阵 {name}，实际有 {listed}"
    ),
    "{names} have different number formats": "{names} 的数值格式不同",
    "there are no layers": "没有层",
    # Options, quantization, staging
    "ranks and layout are options of 'megatron', but to is {to!r}": (
        "ranks 和 layout 只用于 'megatron'，而 to 为 {to!r}"
    ),
    "layout is {layout!r}; expected one of {layouts}": "layout 为 {layout!r}；应为以下之一：{layouts}",
    "text_style is {text_style!r}; expected one of {styles}": "text_style 为 {text_style!r}；应为以下之一：{styles}",
    "holds {worst}, expected finite numbers of at least 0": "含有 {worst}，应为不小于 0 的有限数",
    "{name} is {dtype} {shape}, expected {expected}": "{name} 是 {dtype} {shape}，应为 {expected}",
    "{name} has values in its padding, expected zeros": "{name} 的补齐部分不为零",
    "{name} holds values too large for {overflows} float16 scales; choose weights='f32'": (
        "{name} 的数值太大，有 {overflows} 个 float16 缩放系数溢出；请选 weights='f32'"
    ),
    "{name} cannot be represented (relative error {errors:.2f}): its values are too small for "
    "float16 scales; choose weights='f32'": (
        "{name} 无法表示（相对误差 {errors:.2f}）：数值太小，超出 float16 缩放系数的范围；请选 weights='f32'"
    ),
    "{path} does not exist; expected a directory with a checkpoint": "{path} 不存在；应为有检查点的目录",
    "weights in float64 are rounded to the number format that is written": (
        "float64 的权重会舍入到写出的格式"
    ),
    "the word embedding was cut from {rows:,} to {pieces:,} rows: the rest had no piece": (
        "词嵌入从 {rows:,} 行截为 {pieces:,} 行：其余的行没有对应的词元"
    ),
    "{target} cannot be a store; give a new directory below it": "{target} 不能作为输出；请给出其中的新目录",
    "{target} could not be written: {error}; nothing was left there": "无法写入 {target}：{error}；没有留下任何文件",
    "{target} is a directory; give a new file below it": "{target} 是目录；请给出其中的新文件",
    ", or overwrite it (--overwrite)": "，或覆盖它（--overwrite）",
    "{target} exists already; choose another name{hint}": "{target} 已经存在；请换一个名字{hint}",
    "another process is writing {target}; wait for it, or choose another name": (
        "另一个进程正在写入 {target}；请等它结束，或换一个名字"
    ),
    "{target} exists already; choose another name, or overwrite it (--overwrite)": (
        "{target} 已经存在；请换一个名字，或覆盖它（--overwrite）"
    ),
    "{target} exists and is not a converted model; it will not be overwritten": (
        "{target} 已经存在，且不是转换好的模型；不会覆盖它"
    ),
    "{parent} is a file; nothing can be written below it": "{parent} 是文件；无法在其中写入",
    "{path} holds no checkpoint itself, but directories that do: give one of {below}": (
        "{path} 本身没有检查点，但其中的目录有：请给出其中之一：{below}"
    ),
    "{path} is {what} ({name}), which is not supported: {todo}": "{path} 是{what}（{name}），暂不支持：{todo}",
    "{entry} is {what}": "{entry} 是{what}",
    "{path} has no weights under a supported Hugging Face name: expected one of {forms}; found "
    "{listing}. ": "{path} 没有以支持的 Hugging Face 文件名存放的权重：应有以下之一：{forms}；实际有 {listing}。",
    "If these are the weights, give the file itself: {weights}": "如果权重在这里，请直接给出文件：{weights}",
    "Get the weights from where the configuration came from": "请从配置的来源获取权重",
}
