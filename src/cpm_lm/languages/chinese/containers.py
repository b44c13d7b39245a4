"""Chinese texts of the file formats (`checkpoints/containers`)."""

TEXTS = {
    # What several formats say.
    "{path} cannot be read: {error}": "无法读取 {path}：{error}",
    "{path} cannot be read: {strerror}": "无法读取 {path}：{strerror}",
    "{index} cannot be read: {error}": "无法读取 {index}：{error}",
    "{path} is {known}": "{path} 是{known}",
    "{index} is {known}": "{index} 是{known}",
    "{path} is damaged: {error}; download it again": "{path} 已损坏：{error}；请重新下载",
    "{what} is damaged: {error}": "{what} 已损坏：{error}",
    "{what} is damaged or truncated: {error}": "{what} 已损坏或不完整：{error}",
    "download it again": "请重新下载",
    "a name occurs twice": "有重复的名字",
    "shape {shape}": "形状 {shape}",
    # HDF5
    "{path} needs h5py: pip install 'cpm-lm[h5]'": "读取 {path} 需要 h5py：pip install 'cpm-lm[h5]'",
    "{path} holds {duplicate} twice; expected one model": (
        "{path} 中 {duplicate} 出现两次；应当只有一个模型"
    ),
    "not contiguous in the file": "在文件中不连续",
    "of type {dtype}": "{dtype} 类型",
    "{path}: {name} is {found_type}; expected uncompressed float64, float32 or float16 values, as "
    "Keras writes them": (
        "{path}：{name} 是{found_type}；应为未压缩的 float64、float32 或 float16，即 Keras 写出的形式"
    ),
    "{path} is damaged: the size of {name} does not match its shape": (
        "{path} 已损坏：{name} 的大小与形状不符"
    ),
    # protobuf
    "the data ends within a number": "数据在一个数的中间结束",
    "a number has more than 64 bits": "有一个数超过 64 位",
    "a field has the unknown wire type {wire_type}": "有一个字段的类型 {wire_type} 未知",
    "the data ends within a field": "数据在一个字段的中间结束",
    "expected a number": "应为数字",
    "expected a message": "应为消息",
    # safetensors
    "{path} is truncated or not a safetensors file: it has {size:,} bytes, and its header would "
    "have {header:,}; download it again": (
        "{path} 不完整，或不是 safetensors 文件：共 {size:,} 字节，文件头却应有 {header:,} 字节；请重新下载"
    ),
    "{path} has a damaged header: {error}": "{path} 的文件头已损坏：{error}",
    "{path} is damaged: it has {size:,} bytes, expected {expected:,}; convert the model again": (
        "{path} 已损坏：共 {size:,} 字节，应有 {expected:,} 字节；请重新转换模型"
    ),
    "holds {tensor} in the number format {name}, which is not supported; expected one of {dtypes}: "
    "get the model in 16 or 32 bits": (
        "中的 {tensor} 是 {name} 格式，暂不支持；支持的有 {dtypes}：请获取 16 位或 32 位的模型"
    ),
    "the file has {size:,} bytes, expected {expected:,} or more": (
        "文件共 {size:,} 字节，至少应有 {expected:,} 字节"
    ),
    "offsets {offsets}, expected {expected}": "偏移为 {offsets}，应为 {expected}",
    # PyTorch
    "a tensor without a storage": "有张量没有存储",
    "a tensor of an unknown format": "有张量的格式未知",
    "expected sizes, found {values}": "应为大小，却是 {values}",
    "{path} is {content}; expected a PyTorch file": "{path} 是{content}；应为 PyTorch 文件",
    "{path} is empty; {download_hint}": "{path} 是空文件；{download_hint}",
    "of an unknown format (it begins with {mapped!r}); {download_hint}": (
        "未知格式（以 {mapped!r} 开头）；{download_hint}"
    ),
    "{path} is truncated or damaged: it has {size:,} bytes ({error}); {download_hint}": (
        "{path} 不完整或已损坏：共 {size:,} 字节（{error}）；{download_hint}"
    ),
    "{path} is a zip archive, but not one of torch.save: {n_records} entries named data.pkl, "
    "expected 1; it holds {entries}": (
        "{path} 是 zip 压缩包，但不是 torch.save 写出的：有 {n_records} 个 data.pkl，应为 1 个；其中有 {entries}"
    ),
    "{path} is damaged: data.pkl is longer than recorded; {download_hint}": (
        "{path} 已损坏：data.pkl 比记录的长；{download_hint}"
    ),
    "{path} lacks the storage {storage_key!a}; {download_hint}": (
        "{path} 缺少存储 {storage_key!a}；{download_hint}"
    ),
    "{path} is damaged: the storage {storage_key!a} has {size:,} bytes, expected {expected:,}; "
    "{download_hint}": (
        "{path} 已损坏：存储 {storage_key!a} 有 {size:,} 字节，应有 {expected:,} 字节；{download_hint}"
    ),
    "{path}: {filename!a} is compressed or encrypted, which torch.save never does; unpack the "
    "archive and pack it again without compression (zip -0)": (
        "{path}：{filename!a} 被压缩或加密，而 torch.save 从不如此；请解压后以不压缩的方式重新打包（zip -0）"
    ),
    "{path} is damaged: {filename!a} is not at its recorded offset; {download_hint}": (
        "{path} 已损坏：{filename!a} 不在记录的位置；{download_hint}"
    ),
    "{path} is a pickle, but not one of torch.save": "{path} 是 pickle，但不是 torch.save 写出的",
    "{path} has an unknown version {protocol} of its format": "{path} 的格式版本 {protocol} 未知",
    "{path} was written on a big-endian machine; not supported": (
        "{path} 是在大端序的机器上写出的，暂不支持"
    ),
    "{path} is damaged: its storages do not match its tensors; {download_hint}": (
        "{path} 已损坏：存储与张量不符；{download_hint}"
    ),
    "{path} lacks the storage {missing!a}; {download_hint}": "{path} 缺少存储 {missing!a}；{download_hint}",
    "{path} is truncated: it has {size:,} bytes, expected {position:,}; {download_hint}": (
        "{path} 不完整：共 {size:,} 字节，应有 {position:,} 字节；{download_hint}"
    ),
    "{path} is damaged: tensors disagree on the storage {storage_key!a}": (
        "{path} 已损坏：各张量对存储 {storage_key!a} 的描述不一致"
    ),
    "{path} is damaged: a tensor of shape {shape}, stride {stride} and offset {offset} does not "
    "fit its storage of {held} values": (
        "{path} 已损坏：有张量的形状为 {shape}、步长为 {stride}、偏移为 {offset}，超出了 {held} 个数的存储"
    ),
    "the opcode {opcode_name} is not allowed": "不允许操作码 {opcode_name}",
    "a memo of {argument} entries after {step} steps": "第 {step} 步之后 memo 就有 {argument} 项",
    "{what} holds storage views of PyTorch before 0.4, which are not supported; save it again with "
    "a newer PyTorch": "{what} 含有 PyTorch 0.4 以前的存储视图，暂不支持；请用较新的 PyTorch 重新保存",
    "expected a storage, found {pid}": "应为存储，却是 {pid}",
    # TensorFlow's bundles
    "its values are big-endian; expected little-endian": "数值是大端序；应为小端序",
    "{index} is damaged or not an index of TensorFlow variables: {error}": (
        "{index} 已损坏，或不是 TensorFlow 变量的索引：{error}"
    ),
    "{index} names file {used} of {shards}; it is damaged": (
        "{index} 指向 {shards} 个文件中的第 {used} 个；文件已损坏"
    ),
    "{index} is damaged: {key} is not a scalar string": "{index} 已损坏：{key} 不是单个字符串",
    "{index} is truncated: it has {size:,} bytes, but {key} ends at {offset:,}; download it again": (
        "{index} 不完整：共 {size:,} 字节，而 {key} 到第 {offset:,} 字节才结束；请重新下载"
    ),
    "its footer is missing": "缺少文件尾",
    "its blocks overlap": "数据块互相重叠",
    "its keys are not in order": "键的顺序不对",
    "it is truncated": "文件不完整",
    "it is compressed, which TensorFlow never does": "文件被压缩，而 TensorFlow 从不如此",
    "a block is damaged": "有数据块已损坏",
    "its keys are too long": "键太长",
    "a tensor is stored in slices, which is not supported": "有张量分片存放，暂不支持",
    "TensorFlow's type {code}": "TensorFlow 的类型 {code}",
    "a tensor has the shape {shape}": "有张量的形状为 {shape}",
    "a tensor of {dtype} {shape} has {size} bytes": "有一个 {dtype} {shape} 的张量有 {size} 字节",
    # Indexes of several weight files
    "{parent} lacks {missing}, which {index_name} names; get the missing files from where these "
    "came from": "{parent} 缺少 {index_name} 中列出的 {missing}；请从同一来源补齐缺少的文件",
    "{name} lacks {tensor}": "{name} 缺少 {tensor}",
    "{name} holds {tensor}, which the index does not list there": "{name} 含有 {tensor}，而索引没有列出它",
    "{index} does not match its files ({n_problems} problems): {problems}. Are all files from the "
    "same download?": "{index} 与文件不符（{n_problems} 处）：{problems}。所有文件都来自同一次下载吗？",
    "{index} is not an index: expected file names under 'weight_map'": (
        "{index} 不是索引：'weight_map' 下应为文件名"
    ),
    "{index} names the file {file!r}; expected the plain name of a file beside it: the index is "
    "damaged or malicious": (
        "{index} 指向文件 {file!r}；应为同一目录中的文件名：索引已损坏或有恶意"
    ),
}
