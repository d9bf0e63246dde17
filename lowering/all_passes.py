"""All passes between levels; `lutllm.lowering.PASSES`."""

from lutllm.lowering.linalg.lut_bind_parameters import LutBindParameters
from lutllm.lowering.linalg.lut_to_linalg import LutToLinalg
from lutllm.lowering.place.lut_allocate import LutAllocate
from lutllm.lowering.place.lut_layout import LutLayout
from lutllm.lowering.place.lut_place import LutPlace
from lutllm.lowering.quantize.lut_quantize import LutQuantize
from lutllm.lowering.quantize.torch_to_lut import TorchToLut
from lutllm.lowering.raising.lut_extract_linears import LutExtractLinears
from lutllm.lowering.raising.torch_raise import TorchRaise
from lutllm.lowering.schedule.lut_order import LutOrder
from lutllm.lowering.schedule.lut_schedule import LutSchedule
from lutllm.lowering.schedule.lut_serialize import LutSerialize
from lutllm.lowering.schedule.lut_size_streams import LutSizeStreams
from lutllm.lowering.schedule.lut_verify_schedule import LutVerifySchedule
from lutllm.passes import Pass

PASSES: tuple[type[Pass], ...] = (
    TorchToLut,
    LutExtractLinears,
    TorchRaise,
    LutQuantize,
    LutToLinalg,
    LutBindParameters,
    LutPlace,
    LutLayout,
    LutOrder,
    LutAllocate,
    LutSchedule,
    LutSizeStreams,
    LutSerialize,
    LutVerifySchedule,
)
