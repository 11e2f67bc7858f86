// A stream owns everything that one submission needs (command buffer, descriptor pools, timestamp queries, fence) and
// is used again as a whole once its submission has finished.
#include "shim.h"
#include <stdlib.h>

enum { ALL_STAGES = STAGE_COMPUTE | STAGE_TRANSFER };
enum { ALL_WRITES = ACCESS_SHADER_WRITE | ACCESS_TRANSFER_WRITE };
enum { ALL_ACCESS = ALL_WRITES | ACCESS_SHADER_READ | ACCESS_TRANSFER_READ };

Result vkx_stream_new(vkx_device *d, vkx_stream **out) {
	*out = NULL;
	vkx_stream *s = CALLOC(1, sizeof *s);
	if (!s) return R_OUT_OF_HOST;
	s->device = d;
	CommandPoolCreateInfo pool = {ST_COMMAND_POOL, NULL, 1 /* short-lived */, d->family};
	Result r = CALL(FAULT_MEMORY, d, CreateCommandPool, d->handle, &pool, NULL, &s->pool);
	if (r == R_SUCCESS) {
		vkx_count(d->ledger, K_COMMAND_POOL, 1);
		CommandBufferAllocateInfo cmd = {ST_COMMAND_BUFFER_ALLOCATE, NULL, s->pool, 0, 1};
		r = CALL(FAULT_MEMORY, d, AllocateCommandBuffers, d->handle, &cmd, &s->cmd);
	} else {
		s->pool = 0;
	}
	if (r == R_SUCCESS) {
		FenceCreateInfo fence = {ST_FENCE, NULL, 0};
		r = CALL(FAULT_MEMORY, d, CreateFence, d->handle, &fence, NULL, &s->fence);
		if (r == R_SUCCESS) vkx_count(d->ledger, K_FENCE, 1);
		else s->fence = 0;
	}
	if (r == R_SUCCESS) *out = s;
	else vkx_stream_free(s);
	return r;
}

void vkx_stream_free(vkx_stream *s) {
	if (!s) return;
	vkx_device *d = s->device;
	for (vkx_chunk *c = s->chunks, *next; c; c = next) {
		next = c->next;
		d->DestroyDescriptorPool(d->handle, c->pool, NULL);
		vkx_count(d->ledger, K_DESCRIPTOR_POOL, -1);
		free(c);
	}
	for (uint32_t k = 0; k < s->queryPools; k++) {
		d->DestroyQueryPool(d->handle, s->queries[k], NULL);
		vkx_count(d->ledger, K_QUERY_POOL, -1);
	}
	free(s->queries);
	if (s->fence) {
		d->DestroyFence(d->handle, s->fence, NULL);
		vkx_count(d->ledger, K_FENCE, -1);
	}
	if (s->pool) { // takes its command buffer along
		d->DestroyCommandPool(d->handle, s->pool, NULL);
		vkx_count(d->ledger, K_COMMAND_POOL, -1);
	}
	free(s);
}

Result vkx_stream_begin(vkx_stream *s) {
	vkx_device *d = s->device;
	Result r = CALL(FAULT_MEMORY, d, ResetCommandPool, d->handle, s->pool, 0);
	if (r != R_SUCCESS) return r;
	for (vkx_chunk *c = s->chunks; c; c = c->next) {
		if (c->sets == 0) continue;
		if ((r = CALL(FAULT_MEMORY, d, ResetDescriptorPool, d->handle, c->pool, 0)) != R_SUCCESS) return r;
		c->sets = c->descriptors = 0;
	}
	s->current = s->chunks;
	s->bound = 0;
	s->times = 0;
	CommandBufferBeginInfo info = {ST_COMMAND_BUFFER_BEGIN, NULL, 1 /* submitted once */, NULL};
	return CALL(FAULT_MEMORY, d, BeginCommandBuffer, s->cmd, &info);
}

// Makes all earlier work and its writes come before all later work.
static void barrier(vkx_stream *s) {
	MemoryBarrier m = {ST_MEMORY_BARRIER, NULL, ALL_WRITES, ALL_ACCESS};
	s->device->CmdPipelineBarrier(s->cmd, ALL_STAGES, ALL_STAGES, 0, 1, &m, 0, NULL, 0, NULL);
}

static Result new_chunk(vkx_stream *s, uint32_t need) {
	vkx_device *d = s->device;
	vkx_chunk *c = CALLOC(1, sizeof *c);
	if (!c) return R_OUT_OF_HOST;
	DescriptorPoolSize size = {DESCRIPTOR_STORAGE_BUFFER, need > POOL_DESCRIPTORS ? need : POOL_DESCRIPTORS};
	DescriptorPoolCreateInfo info = {ST_DESCRIPTOR_POOL, NULL, 0, POOL_SETS, 1, &size};
	Result r = CALL(FAULT_MEMORY, d, CreateDescriptorPool, d->handle, &info, NULL, &c->pool);
	if (r != R_SUCCESS) {
		free(c);
		return r;
	}
	vkx_count(d->ledger, K_DESCRIPTOR_POOL, 1);
	vkx_chunk **end = &s->chunks;
	while (*end) end = &(*end)->next;
	*end = c;
	s->current = c;
	return R_SUCCESS;
}

static Result new_set(vkx_stream *s, const vkx_layout *l, Handle *out) {
	vkx_device *d = s->device;
	for (;;) {
		vkx_chunk *c = s->current;
		if (!c) {
			Result r = new_chunk(s, l->bindings);
			if (r != R_SUCCESS) return r;
			c = s->current;
		}
		if (c->sets < POOL_SETS && c->descriptors + l->bindings <= POOL_DESCRIPTORS) {
			SetAllocateInfo info = {ST_SET_ALLOCATE, NULL, c->pool, 1, &l->set};
			Result r = CALL(FAULT_MEMORY, d, AllocateDescriptorSets, d->handle, &info, out);
			if (r == R_SUCCESS) {
				c->sets++;
				c->descriptors += l->bindings;
				return r;
			}
			if ((r != R_OUT_OF_POOL && r != R_FRAGMENTED_POOL) || c->sets == 0) return r;
		}
		s->current = c->next;
	}
}



Result vkx_dispatch(vkx_stream *s, const vkx_pipeline *p, uint32_t x, uint32_t y, uint32_t z, const void *push,
	uint32_t pushSize, const vkx_bind *binds, uint32_t count, int wait) {
	vkx_device *d = s->device;
	const vkx_layout *l = p->layout;
	if (wait) barrier(s);
	if (s->bound != p->pipeline) {
		d->CmdBindPipeline(s->cmd, BIND_COMPUTE, p->pipeline);
		s->bound = p->pipeline;
	}
	if (count) {
		Handle set = 0;
		Result r = new_set(s, l, &set);
		if (r != R_SUCCESS) return r;
		DescriptorBufferInfo info[MAX_BINDS];
		WriteSet write[MAX_BINDS];
		for (uint32_t k = 0; k < count; k++) {
			info[k] = (DescriptorBufferInfo){binds[k].buffer, binds[k].offset, binds[k].range};
			write[k] = (WriteSet){ST_WRITE_SET, NULL, set, k, 0, 1, DESCRIPTOR_STORAGE_BUFFER, NULL, &info[k], NULL};
		}
		d->UpdateDescriptorSets(d->handle, count, write, 0, NULL);
		d->CmdBindDescriptorSets(s->cmd, BIND_COMPUTE, l->layout, 0, 1, &set, 0, NULL);
	}
	if (pushSize) d->CmdPushConstants(s->cmd, l->layout, SHADER_STAGE_COMPUTE, 0, pushSize, push);
	d->CmdDispatch(s->cmd, x, y, z);
	return R_SUCCESS;
}

void vkx_copy(vkx_stream *s, Handle dst, uint64_t dstOff, Handle src, uint64_t srcOff, uint64_t n, int wait) {
	BufferCopy region = {srcOff, dstOff, n};
	if (wait) barrier(s);
	s->device->CmdCopyBuffer(s->cmd, src, dst, 1, &region);
}

void vkx_fill(vkx_stream *s, Handle dst, uint64_t off, uint64_t n, uint32_t word, int wait) {
	if (wait) barrier(s);
	s->device->CmdFillBuffer(s->cmd, dst, off, n, word);
}

Result vkx_timestamp(vkx_stream *s) {
	vkx_device *d = s->device;
	uint32_t which = s->times / QUERIES, slot = s->times % QUERIES;
	if (which == s->queryPools) {
		Handle *grown = realloc(s->queries, (which + 1) * sizeof *grown);
		if (!grown) return R_OUT_OF_HOST;
		s->queries = grown;
		QueryPoolCreateInfo info = {ST_QUERY_POOL, NULL, 0, 2 /* timestamps */, QUERIES, 0};
		Result r = CALL(FAULT_MEMORY, d, CreateQueryPool, d->handle, &info, NULL, &s->queries[which]);
		if (r != R_SUCCESS) return r;
		s->queryPools++;
		vkx_count(d->ledger, K_QUERY_POOL, 1);
	}
	if (slot == 0) d->CmdResetQueryPool(s->cmd, s->queries[which], 0, QUERIES);
	d->CmdWriteTimestamp(s->cmd, STAGE_BOTTOM, s->queries[which], slot);
	s->times++;
	return R_SUCCESS;
}

Result vkx_stream_end(vkx_stream *s) {
	// A fence alone does not make writes visible to the host.
	MemoryBarrier m = {ST_MEMORY_BARRIER, NULL, ALL_WRITES, ACCESS_HOST_READ};
	s->device->CmdPipelineBarrier(s->cmd, ALL_STAGES, STAGE_HOST, 0, 1, &m, 0, NULL, 0, NULL);
	return CALL(FAULT_MEMORY, s->device, EndCommandBuffer, s->cmd);
}

// The caller holds the queue's lock.
Result vkx_submit(vkx_stream *s) {
	vkx_device *d = s->device;
	Result r = CALL(FAULT_MEMORY, d, ResetFences, d->handle, 1, &s->fence);
	if (r != R_SUCCESS) return r;
	SubmitInfo info = {ST_SUBMIT, NULL, 0, NULL, NULL, 1, &s->cmd, 0, NULL};
	return CALL(FAULT_MEMORY | FAULT_LOST, d, QueueSubmit, d->queue, 1, &info, s->fence);
}

Result vkx_stream_status(vkx_stream *s) { return CALL(FAULT_LOST, s->device, GetFenceStatus, s->device->handle, s->fence); }

Result vkx_stream_wait(vkx_stream *s, uint64_t ns) {
	return CALL(FAULT_LOST, s->device, WaitForFences, s->device->handle, 1, &s->fence, 1, ns);
}

Result vkx_stream_times(vkx_stream *s, uint64_t *out) {
	vkx_device *d = s->device;
	for (uint32_t first = 0; first < s->times; first += QUERIES) {
		uint32_t n = s->times - first < QUERIES ? s->times - first : QUERIES;
		Result r = CALL(FAULT_LOST, d, GetQueryPoolResults, d->handle, s->queries[first / QUERIES], 0, n, n * 8, out + first, 8, 3 /* 64 bits, wait */);
		if (r != R_SUCCESS) return r;
	}
	return R_SUCCESS;
}
