#include "shim.h"
#include <stdlib.h>

Result vkx_layout_new(vkx_device *d, uint32_t bindings, uint32_t push, vkx_layout **out) {
	*out = NULL;
	vkx_layout *l = CALLOC(1, sizeof *l);
	SetLayoutBinding *b = CALLOC(bindings ? bindings : 1, sizeof *b);
	Result r = R_OUT_OF_HOST;
	if (l && b) {
		l->bindings = bindings;
		l->push = push;
		for (uint32_t k = 0; k < bindings; k++)
			b[k] = (SetLayoutBinding){k, DESCRIPTOR_STORAGE_BUFFER, 1, SHADER_STAGE_COMPUTE, NULL};
		SetLayoutCreateInfo set = {ST_SET_LAYOUT, NULL, 0, bindings, b};
		r = CALL(FAULT_MEMORY, d, CreateDescriptorSetLayout, d->handle, &set, NULL, &l->set);
		if (r == R_SUCCESS) vkx_count(d->ledger, K_SET_LAYOUT, 1);
		else l->set = 0;
	}
	if (r == R_SUCCESS) {
		PushConstantRange range = {SHADER_STAGE_COMPUTE, 0, push};
		PipelineLayoutCreateInfo info = {ST_PIPELINE_LAYOUT, NULL, 0, 1, &l->set, push ? 1 : 0, &range};
		r = CALL(FAULT_MEMORY, d, CreatePipelineLayout, d->handle, &info, NULL, &l->layout);
		if (r == R_SUCCESS) vkx_count(d->ledger, K_LAYOUT, 1);
		else l->layout = 0;
	}
	free(b);
	if (r == R_SUCCESS) *out = l;
	else if (l) vkx_layout_free(d, l);
	return r;
}

void vkx_layout_free(vkx_device *d, vkx_layout *l) {
	if (!l) return;
	if (l->layout) {
		d->DestroyPipelineLayout(d->handle, l->layout, NULL);
		vkx_count(d->ledger, K_LAYOUT, -1);
	}
	if (l->set) {
		d->DestroyDescriptorSetLayout(d->handle, l->set, NULL);
		vkx_count(d->ledger, K_SET_LAYOUT, -1);
	}
	free(l);
}

Result vkx_pipeline_new(vkx_device *d, Handle cache, const vkx_layout *l, const uint32_t *code, size_t size,
	const vkx_constant *constants, uint32_t count, uint32_t subgroup, int full, vkx_pipeline **out) {
	*out = NULL;
	vkx_pipeline *p = CALLOC(1, sizeof *p);
	SpecializationEntry *entries = CALLOC(count ? count : 1, sizeof *entries);
	if (!p || !entries) {
		free(p);
		free(entries);
		return R_OUT_OF_HOST;
	}
	for (uint32_t k = 0; k < count; k++)
		entries[k] = (SpecializationEntry){constants[k].id, k * (uint32_t)sizeof *constants + (uint32_t)offsetof(vkx_constant, value), 4};
	SpecializationInfo special = {count, entries, count * sizeof *constants, constants};
	ShaderModuleCreateInfo module = {ST_SHADER_MODULE, NULL, 0, size, code};
	Handle shader = 0;
	Result r = CALL(FAULT_MEMORY | FAULT_BUILD, d, CreateShaderModule, d->handle, &module, NULL, &shader);
	if (r == R_SUCCESS) {
		vkx_count(d->ledger, K_MODULE, 1);
		RequiredSubgroup required = {ST_REQUIRED_SUBGROUP, NULL, subgroup};
		ComputePipelineCreateInfo info = {ST_COMPUTE_PIPELINE, NULL, 0,
			{ST_SHADER_STAGE, subgroup ? &required : NULL, full ? 2 : 0, SHADER_STAGE_COMPUTE, shader, "main", count ? &special : NULL},
			l->layout, 0, -1};
		r = CALL(FAULT_MEMORY | FAULT_BUILD, d, CreateComputePipelines, d->handle, cache, 1, &info, NULL, &p->pipeline);
		d->DestroyShaderModule(d->handle, shader, NULL);
		vkx_count(d->ledger, K_MODULE, -1);
	}
	free(entries);
	if (r != R_SUCCESS) {
		free(p);
		return r;
	}
	vkx_count(d->ledger, K_PIPELINE, 1);
	p->layout = l;
	*out = p;
	return r;
}

void vkx_pipeline_free(vkx_device *d, vkx_pipeline *p) {
	if (!p) return;
	d->DestroyPipeline(d->handle, p->pipeline, NULL);
	vkx_count(d->ledger, K_PIPELINE, -1);
	free(p);
}

Result vkx_cache_new(vkx_device *d, const void *data, size_t size, Handle *out) {
	PipelineCacheCreateInfo info = {ST_PIPELINE_CACHE, NULL, 0, size, size ? data : NULL};
	Result r = CALL(FAULT_MEMORY, d, CreatePipelineCache, d->handle, &info, NULL, out);
	if (r == R_SUCCESS) vkx_count(d->ledger, K_CACHE, 1);
	return r;
}

Result vkx_cache_data(vkx_device *d, Handle cache, void *data, size_t *size) {
	return CALL(FAULT_MEMORY, d, GetPipelineCacheData, d->handle, cache, size, data);
}

void vkx_cache_free(vkx_device *d, Handle cache) {
	d->DestroyPipelineCache(d->handle, cache, NULL);
	vkx_count(d->ledger, K_CACHE, -1);
}
