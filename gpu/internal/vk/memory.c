// A block is one allocation of memory under one buffer of the same size; what the callers get are ranges of it.
#include "shim.h"
#include <string.h>

static Result new_buffer(vkx_device *d, uint64_t size, Handle *out) {
	BufferCreateInfo info = {ST_BUFFER, NULL, 0, size, USAGE_STORAGE | USAGE_TRANSFER_SRC | USAGE_TRANSFER_DST, 0, 0, NULL};
	Result r = CALL(FAULT_MEMORY, d, CreateBuffer, d->handle, &info, NULL, out);
	if (r == R_SUCCESS) vkx_count(d->ledger, K_BUFFER, 1);
	return r;
}

// The memory types that such buffers may live in: the same for every size, by the specification.
Result vkx_type_bits(vkx_device *d, uint32_t *out) {
	vkx_block b = {0};
	MemoryRequirements need = {0};
	Result r = new_buffer(d, 65536, &b.buffer);
	if (r != R_SUCCESS) return r;
	d->GetBufferMemoryRequirements(d->handle, b.buffer, &need);
	*out = need.typeBits;
	vkx_block_free(d, &b);
	return R_SUCCESS;
}

Result vkx_block_new(vkx_device *d, uint64_t size, uint32_t type, int map, vkx_block *out) {
	memset(out, 0, sizeof *out);
	vkx_block b = {0};
	Result r = new_buffer(d, size, &b.buffer);
	if (r != R_SUCCESS) return r;
	MemoryRequirements need = {0};
	d->GetBufferMemoryRequirements(d->handle, b.buffer, &need);
	MemoryAllocateInfo info = {ST_MEMORY_ALLOCATE, NULL, need.size, type};
	r = CALL(FAULT_MEMORY, d, AllocateMemory, d->handle, &info, NULL, &b.memory);
	if (r == R_SUCCESS) {
		vkx_count(d->ledger, K_MEMORY, 1);
		r = CALL(FAULT_MEMORY, d, BindBufferMemory, d->handle, b.buffer, b.memory, 0);
		if (r == R_SUCCESS && map) r = CALL(FAULT_MEMORY | FAULT_LOST, d, MapMemory, d->handle, b.memory, 0, ~(DeviceSize)0, 0, &b.map);
	} else {
		b.memory = 0;
	}
	if (r != R_SUCCESS)
		vkx_block_free(d, &b);
	else
		*out = b;
	return r;
}

void vkx_block_free(vkx_device *d, vkx_block *b) {
	if (b->buffer) {
		d->DestroyBuffer(d->handle, b->buffer, NULL);
		vkx_count(d->ledger, K_BUFFER, -1);
	}
	if (b->memory) { // freeing unmaps
		d->FreeMemory(d->handle, b->memory, NULL);
		vkx_count(d->ledger, K_MEMORY, -1);
	}
	memset(b, 0, sizeof *b);
}
