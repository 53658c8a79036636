"""A compiled step as one CUDA graph: a single launch in place of hundreds, which small models wait for.

What changes from step to step (characters, dropout's words, the learning rate) is copied to where the graph reads it.
"""

import torch
from torch import Tensor

from gpt.train.engines.compiled import CompiledEngine
from gpt.train.engines.engine import State, StepOut

WARM_STEPS = 3
"""steps before the capture, in which kernels are compiled and libraries take their memory"""


class GraphEngine(CompiledEngine):
    """Captured at its first step; evaluations and probes are computed as ever."""

    name = "single process, CUDA graph"

    _graph: "torch.cuda.CUDAGraph | None" = None

    def _fast(self, words_X2S: Tensor, batch_SBT: Tensor, lr: float) -> StepOut:
        if self._graph is None:
            self._capture(words_X2S, batch_SBT)
        assert self._graph is not None
        self._words_X2S.copy_(words_X2S)
        self._batch_SBT.copy_(batch_SBT)
        self._lr.fill_(lr)
        self._graph.replay()
        out = self._out
        norms_SM = None if out.micro_batch_norm_SM is None else out.micro_batch_norm_SM.clone()
        return StepOut(
            out.loss_S.clone(), out.grad_norm_S.clone(), out.layer_grad_norm_SL.clone(), out.clip_scale_S.clone(),
            norms_SM, None,
        )  # fmt: skip

    def _capture(self, words_X2S: Tensor, batch_SBT: Tensor) -> None:
        """Record the step; what is computed meanwhile moves no weight, for the engine is held."""
        self._words_X2S, self._batch_SBT = words_X2S.clone(), batch_SBT.clone()
        self._lr = torch.zeros((), device=self.device)
        self._held.fill_(1.0)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_STEPS):
                self._work(self._words_X2S, self._batch_SBT, self._lr)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._out = self._work(self._words_X2S, self._batch_SBT, self._lr)
        self._held.zero_()

    def load(self, step: int, state: State) -> None:
        super().load(step, state)
        self._graph = None  # it would go on with the optimizer's tensors of before
