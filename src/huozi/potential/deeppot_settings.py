"""Settings of the DeepPot-SE and DPA-1 family; the names in brackets are deepmd-kit's."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

Activation = Literal[
    "tanh", "relu", "relu6", "gelu", "gelu_tf", "sigmoid", "softplus", "silu", "linear"
]
Precision = Literal["float32", "float64"]
SPLINE_DEGREE = 5  # of the expansion of the embedding


class Neighbourhood(BaseModel):
    """What all descriptors of the family share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cutoff: float = Field(6.0, gt=0.5, le=30, description="Range, Å (rcut).")
    onset: float = Field(0.5, ge=0, description="Where the switch to zero begins, Å (rcut_smth).")
    neuron: tuple[PositiveInt, ...] = Field(
        (25, 50, 100), min_length=1, description="Widths of the embedding network."
    )
    activation: Activation = "tanh"
    sel: tuple[int, ...] = Field(
        (100,),
        min_length=1,
        description="Neighbours of each element, or of all together, by whose sum the sums over "
        "neighbours are divided. No limit: every neighbour counts.",
    )
    one_side: bool = Field(
        True, description="Embedding by the neighbour's element alone (type_one_side)."
    )
    exclude: tuple[tuple[int, int], ...] = Field(
        (), description="Pairs of elements, as numbers in the model, that do not see each other."
    )
    protection: float = Field(0.0, ge=0, description="Added to distances, Å (env_protection).")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.onset >= self.cutoff:
            raise ValueError(f"onset ({self.onset} Å) must be below the cutoff ({self.cutoff} Å)")
        axis = getattr(self, "axis", 1)
        if axis > self.neuron[-1]:
            raise ValueError(
                f"axis ({axis}) is more than the last width of neuron ({self.neuron[-1]})"
            )
        return self

    @property
    def total(self) -> int:
        """Number by which sums over neighbours are divided."""
        return sum(self.sel)

    def is_excluded(self, element: int, other: int) -> bool:
        """Whether atoms of one element do not see those of another."""
        return (element, other) in self.exclude or (other, element) in self.exclude


class SeAConfig(Neighbourhood):
    """Two-body embedding with radial and angular information (se_e2_a)."""

    name: Literal["se_e2_a"] = "se_e2_a"
    axis: int = Field(16, ge=1, description="Columns of the second factor (axis_neuron).")

    def size(self) -> int:
        """Length of the descriptor."""
        return self.neuron[-1] * self.axis


class SeRConfig(Neighbourhood):
    """Two-body embedding with radial information alone (se_e2_r)."""

    name: Literal["se_e2_r"] = "se_e2_r"

    def size(self) -> int:
        """Length of the descriptor."""
        return self.neuron[-1]


class Dpa1Config(Neighbourhood):
    """DPA-1: type embedding and attention over the neighbours (se_atten, se_atten_v2)."""

    name: Literal["se_atten"] = "se_atten"
    one_side: bool = False
    axis: int = Field(16, ge=1, description="Columns of the second factor (axis_neuron).")
    type_size: int = Field(8, ge=1, description="Length of the type embedding (tebd_dim).")
    mode: Literal["concat", "strip"] = Field(
        "strip", description="How types enter the embedding (tebd_input_mode)."
    )
    smooth: bool = Field(True, description="Types fade in at the cutoff (smooth_type_embedding).")
    types_to_fitting: bool = Field(True, description="(concat_output_tebd)")
    attention_layers: int = Field(0, ge=0, description="(attn_layer)")
    attention_width: int = Field(128, ge=1, description="(attn)")
    attention_by_angle: bool = Field(True, description="(attn_dotr)")
    attention_normalised: bool = Field(True, description="Unit queries, keys, values (normalize).")
    attention_scale: float | None = Field(
        None, description="Factor of the queries; 1/sqrt(width) when absent (temperature)."
    )
    norm_floor: float = Field(1e-5, gt=0, description="Added to variances (ln_eps).")

    def size(self) -> int:
        """Length of the descriptor."""
        return self.neuron[-1] * self.axis + self.types_to_fitting * self.type_size


Descriptor = Annotated[SeAConfig | SeRConfig | Dpa1Config, Field(discriminator="name")]


class BridgeConfig(BaseModel):
    """Pair table that takes over at short distances (use_srtab, DP-ZBL)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cutoff: float = Field(gt=0, description="Range of the table, Å.")
    start: float = Field(ge=0, description="First distance of the table, Å.")
    spacing: float = Field(gt=0, description="Distance between its points, Å.")
    inner: float = Field(gt=0, description="Below this softmin distance the table alone, Å.")
    outer: float = Field(gt=0, description="Above this one the network alone, Å.")
    softness: float = Field(0.1, gt=0, description="Length of the softmin, Å (smin_alpha).")


class DeepPotConfig(BaseModel):
    """DeepPot-SE, DPA-1, hybrids of them, with or without a pair table at short distances."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["deeppot"] = "deeppot"
    descriptors: tuple[Descriptor, ...] = Field((SeAConfig(),), min_length=1)
    hidden: tuple[PositiveInt, ...] = Field(
        (240, 240, 240), min_length=1, description="Widths of the fitting network."
    )
    activation: Activation = "tanh"
    shared: bool = Field(False, description="One fitting network for all elements (mixed_types).")
    bridge: BridgeConfig | None = None
    precision: Precision = Field("float32", description="Arithmetic of the training.")

    nodes: int = Field(
        64,
        ge=0,
        le=512,
        description="Splines in which the embedding is expanded while training, more than "
        f"{SPLINE_DEGREE}; 0 trains with the network itself.",
    )
    closest: float = Field(
        0.5,
        gt=0,
        description="Shortest distance of that expansion, Å; training takes 0.9 times "
        "the shortest of the data.",
    )

    @field_validator("nodes")
    @classmethod
    def _none_or_enough(cls, nodes: int) -> int:
        if 0 < nodes <= SPLINE_DEGREE:
            raise ValueError(f"nodes must be 0 or more than {SPLINE_DEGREE}; found {nodes}")
        return nodes

    @property
    def degree(self) -> int:
        """Largest degree of the moments."""
        return 1

    @property
    def cutoff(self) -> float:
        """Range of the interaction, Å."""
        ranges = [d.cutoff for d in self.descriptors]
        return max(ranges) if self.bridge is None else max(*ranges, self.bridge.cutoff)

    @property
    def descriptor_size(self) -> int:
        """Number of invariants of an atom."""
        return sum(d.size() for d in self.descriptors)
