"""The libraries of the image torch work in its kernels."""

import pytest

from kernel_env.kernel.recoverable import RecoverableKernel
from support.kernels import cell_text, run_cell

TRAIN = """
import torch
from torch import nn
torch.manual_seed(0)
X = torch.randn(256, 1, 8, 8); y = (X.mean(dim=(1, 2, 3)) > 0).long()
model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
def epoch():
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(X), y)
    loss.backward()
    optimizer.step()
    return round(loss.item(), 6)
losses = [epoch() for _ in range(20)]
assert losses[-1] < losses[0]
"""


@pytest.mark.docker
async def test_a_network_trains_on_after_a_crash_as_without_it(kernel: RecoverableKernel) -> None:
    """This one test needs no option, if the image is built already."""
    trained = await run_cell(kernel, TRAIN, 60)
    tried = await kernel.run_trial("[epoch() for _ in range(3)]", timeout_s=60)
    await run_cell(kernel, "import os; epoch(); os._exit(1)")
    after = await run_cell(kernel, "[epoch() for _ in range(3)]", 60)

    assert trained.error is None
    assert cell_text(tried) == cell_text(after) != ""


@pytest.mark.torch
async def test_torch_is_imported_in_advance_and_shares_its_threads(
    kernel: RecoverableKernel,
) -> None:
    cell = await run_cell(
        kernel,
        "import sys; before = 'torch' in sys.modules; import torch, lightgbm; "
        "pools = {line.split()[-1] for line in open('/proc/self/maps') if 'libgomp' in line}; "
        "before, len(pools), torch.get_num_threads(), torch.__version__.partition('+')[0]",
    )

    assert cell_text(cell) == "(True, 1, 2, '2.13.0')"


@pytest.mark.torch
@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "import torch, torchvision; m = torchvision.models.resnet18().eval(); "
            "m(torch.zeros(1, 3, 64, 64)).shape",
            "torch.Size([1, 1000])",
        ),
        (
            "import torch; from torchvision.transforms import v2; "
            "v2.Compose([v2.RandomResizedCrop(8), v2.RandomHorizontalFlip(), "
            "v2.ToDtype(torch.float32, scale=True)])(torch.zeros(3, 9, 9, dtype=torch.uint8)).shape",
            "torch.Size([3, 8, 8])",
        ),
        (
            "import torch; from torchvision.ops import nms; nms(torch.tensor([[0., 0, 10, 10], "
            "[1, 1, 10, 10], [20, 20, 30, 30], [0, 0, 10, 4]]), "
            "torch.tensor([.8, .9, .1, .7]), 0.5)",
            "tensor([1, 3, 2])",
        ),
        (
            "import torch; from torchvision.models.detection import ssdlite320_mobilenet_v3_large "
            "as ssd; out = ssd(weights=None, weights_backbone=None).eval()("
            "[torch.rand(3, 64, 64)]); sorted(out[0])",
            "['boxes', 'labels', 'scores']",
        ),
        (
            "import timm, torch; timm.create_model('efficientnet_lite0', num_classes=3).eval()("
            "torch.zeros(2, 3, 64, 64)).shape",
            "torch.Size([2, 3])",
        ),
        (
            "from tokenizers import Tokenizer, models, trainers, pre_tokenizers\n"
            "t = Tokenizer(models.BPE(unk_token='?')); "
            "t.pre_tokenizer = pre_tokenizers.Whitespace()\n"
            "t.train_from_iterator(['the cat sat'] * 9, trainers.BpeTrainer(show_progress=False)); "
            "t.encode('the cat').tokens",
            "['the', 'cat']",
        ),
        (
            "import torch; from safetensors.torch import save_file, load_file; "
            "save_file({'w': torch.ones(3)}, 'w.safetensors'); load_file('w.safetensors')",
            "{'w': tensor([1., 1., 1.])}",
        ),
        (
            "from sentence_transformers import SentenceTransformer as Model, util\n"
            "from transformers import AutoModel; name = 'sentence-transformers/all-MiniLM-L6-v2'\n"
            "near, far = util.cos_sim(*[Model(name).encode(['a cat', 'a kitten', 'a stock market'])"
            "[rows] for rows in ([0], [1, 2])])[0]\n"
            "bool(near > 2 * far), AutoModel.from_pretrained(name).config.num_hidden_layers",
            "(True, 6)",
        ),
        (
            "import torch; f = torch.compile(lambda a: (a * 2).sum(), backend='aot_eager'); "
            "f(torch.ones(3)).item()",
            "6.0",
        ),
        (
            "import torch\n"
            "from transformers import BertConfig, BertForSequenceClassification, Trainer, "
            "TrainingArguments\n"
            "model = BertForSequenceClassification(BertConfig(vocab_size=50, hidden_size=16, "
            "num_hidden_layers=1, num_attention_heads=2, intermediate_size=32))\n"
            "rows = [{'input_ids': torch.arange(5) + i, 'labels': i % 2} for i in range(8)]\n"
            "options = TrainingArguments('out', max_steps=2, report_to='none', use_cpu=True, "
            "disable_tqdm=True, save_strategy='no')\n"
            "import contextlib, io\n"
            "with contextlib.redirect_stdout(io.StringIO()):\n"
            "    done = Trainer(model, options, train_dataset=rows).train()\n"
            "done.global_step",
            "2",
        ),
    ],
    ids=[
        "torchvision model",
        "transforms",
        "suppression of boxes",
        "detection",
        "timm",
        "tokenizers",
        "safetensors",
        "weights without a network",
        "compile",
        "trainer",
    ],
)
async def test_a_library_works(kernel: RecoverableKernel, code: str, text: str) -> None:
    cell = await run_cell(kernel, code, 100)

    assert cell.error is None
    assert cell_text(cell).rpartition("\n")[2] == text


@pytest.mark.torch
async def test_a_model_that_is_not_there_is_an_error_at_once(kernel: RecoverableKernel) -> None:
    cell = await run_cell(
        kernel, "from transformers import AutoModel; AutoModel.from_pretrained('bert-base')", 60
    )

    assert cell.error is not None
    assert "offline" in cell.error.value
