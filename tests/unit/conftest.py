"""Unit tests run side by side, so each process takes one core."""

import torch

torch.set_num_threads(1)
