"""How an explanation is computed: chunk by chunk, in one program, step by step, on the host."""
