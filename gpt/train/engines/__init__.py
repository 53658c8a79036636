"""What computes a step: one process, or ranks that share it by DDP, DeepSpeed or FSDP2; one engine a file."""
