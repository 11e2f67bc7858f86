#include "shim.h"
#include <stdlib.h>
#include <string.h>

typedef AnyFn(VKCALL *ProcFn)(Instance, const char *);
typedef Result(VKCALL *VersionFn)(uint32_t *);
typedef Result(VKCALL *ExtensionsFn)(const char *, uint32_t *, ExtensionProperties *);
typedef Result(VKCALL *LayersFn)(uint32_t *, LayerProperties *);
typedef Result(VKCALL *CreateFn)(const InstanceCreateInfo *, const void *, Instance *);

static const char *const validation_layer = "VK_LAYER_KHRONOS_validation";

static int has_extension(AnyFn gipa, const char *layer, const char *name) {
	ExtensionsFn list = (ExtensionsFn)((ProcFn)gipa)(NULL, "vkEnumerateInstanceExtensionProperties");
	uint32_t n = 0;
	int found = 0;
	if (!list || list(layer, &n, NULL) != R_SUCCESS || n == 0) return 0;
	ExtensionProperties *all = CALLOC(n, sizeof *all);
	if (!all) return 0;
	if (list(layer, &n, all) >= R_SUCCESS)
		for (uint32_t i = 0; i < n && !found; i++) found = !strcmp(all[i].name, name);
	free(all);
	return found;
}

// What the loader has, before any instance exists.
Result vkx_offers(AnyFn gipa, vkx_offer *out) {
	memset(out, 0, sizeof *out);
	out->version = 1u << 22; // loaders of version 1.0 do not know the question
	VersionFn version = (VersionFn)((ProcFn)gipa)(NULL, "vkEnumerateInstanceVersion");
	if (version) {
		Result r = version(&out->version);
		if (r != R_SUCCESS) return r;
	}
	LayersFn layers = (LayersFn)((ProcFn)gipa)(NULL, "vkEnumerateInstanceLayerProperties");
	uint32_t n = 0;
	if (layers && layers(&n, NULL) == R_SUCCESS && n) {
		LayerProperties *all = CALLOC(n, sizeof *all);
		if (!all) return R_OUT_OF_HOST;
		if (layers(&n, all) >= R_SUCCESS)
			for (uint32_t i = 0; i < n; i++) out->validation |= !strcmp(all[i].name, validation_layer);
		free(all);
	}
	out->debugUtils = has_extension(gipa, NULL, "VK_EXT_debug_utils") ||
		(out->validation && has_extension(gipa, validation_layer, "VK_EXT_debug_utils"));
	out->portability = has_extension(gipa, NULL, "VK_KHR_portability_enumeration");
	return R_SUCCESS;
}

// The ledger is handed out even when the instance could not be made: it holds the loader's reasons. The caller frees it.
Result vkx_instance_new(AnyFn gipa, uint32_t api, const vkx_offer *offer, int validate, const char *wanted,
	vkx_instance **out, vkx_ledger **ledger) {
	*out = NULL;
	vkx_ledger *l = *ledger = CALLOC(1, sizeof *l);
	vkx_instance *i = CALLOC(1, sizeof *i);
	if (!i || !l) {
		free(i);
		return R_OUT_OF_HOST;
	}
	i->api = api;
	i->ledger = l;

	ApplicationInfo app = {ST_APPLICATION, NULL, "vkconv", 1, "vkconv", 1, api};
	const char *extensions[16];
	uint32_t extensionCount = 0;
	if (offer->debugUtils) extensions[extensionCount++] = "VK_EXT_debug_utils";
	if (offer->portability) extensions[extensionCount++] = "VK_KHR_portability_enumeration";

	for (; *wanted && extensionCount < 12; wanted += strlen(wanted) + 1) extensions[extensionCount++] = wanted;

	// Chained into the instance's own creation too, so that the loader's complaints while it looks for drivers and the
	// layer's while the instance is destroyed are kept.
	DebugMessengerCreateInfo debug = {ST_DEBUG_MESSENGER, NULL, 0, 0x1100, 0x7, vkx_debug, l};
	// Beyond its plain checks the layer does nothing unless told: those of synchronization (recent layers leave out what
	// shaders read and write unless told that, too), or those that it writes into the shaders themselves, which need a
	// descriptor set of its own. One of the two at a time, as its documentation advises.
	int inside = validate == VALIDATE_SHADERS;
	int32_t sync[] = {4}, shaders[] = {0, 1};
	ValidationFeatures features = {ST_VALIDATION_FEATURES, NULL, inside ? 2 : 1, inside ? shaders : sync, 0, NULL};
	Bool32 on = 1;
	LayerSetting synchronized[] = {{validation_layer, "validate_sync", 0, 1, &on},
		{validation_layer, "syncval_shader_accesses_heuristic", 0, 1, &on}};
	Bool32 off = 0;
	LayerSetting instrumented[] = {{validation_layer, "gpuav_enable", 0, 1, &on},
		{validation_layer, "validate_core", 0, 1, &off}};
	LayerSettings settings = {ST_LAYER_SETTINGS, NULL, 2, inside ? instrumented : synchronized};
	if (validate && has_extension(gipa, validation_layer, "VK_EXT_layer_settings")) {
		extensions[extensionCount++] = "VK_EXT_layer_settings";
		debug.pNext = &settings;
	} else if (validate && has_extension(gipa, validation_layer, "VK_EXT_validation_features")) {
		extensions[extensionCount++] = "VK_EXT_validation_features";
		debug.pNext = &features;
	}
	InstanceCreateInfo info = {ST_INSTANCE, offer->debugUtils ? &debug : debug.pNext, offer->portability ? 1 : 0, &app,
		validate ? 1 : 0, &validation_layer, extensionCount, extensions};
	CreateFn create = (CreateFn)((ProcFn)gipa)(NULL, "vkCreateInstance");
	Result r = create ? create(&info, NULL, &i->handle) : R_INIT_FAILED;
	if (r != R_SUCCESS) {
		free(i);
		return r;
	}
	vkx_count(l, K_INSTANCE, 1);
	int missing = 0;
#define X(name, ret, args)                                                                                             \
	i->name = (ret(VKCALL *) args)((ProcFn)gipa)(i->handle, "vk" #name);
	INSTANCE_OPTIONAL(X)
#undef X
#define X(name, ret, args)                                                                                             \
	i->name = (ret(VKCALL *) args)((ProcFn)gipa)(i->handle, "vk" #name);                                                        \
	missing |= !i->name;
	INSTANCE_FUNCTIONS(X)
#undef X
	if (missing) {
		vkx_instance_free(i);
		return R_INIT_FAILED;
	}
	if (offer->debugUtils && i->CreateDebugUtilsMessengerEXT && i->DestroyDebugUtilsMessengerEXT) {
		debug.pNext = NULL;
		if (i->CreateDebugUtilsMessengerEXT(i->handle, &debug, NULL, &i->messenger) == R_SUCCESS)
			vkx_count(l, K_MESSENGER, 1);
	}
	*out = i;
	return R_SUCCESS;
}

void vkx_instance_free(vkx_instance *i) {
	if (!i) return;
	if (i->messenger) {
		i->DestroyDebugUtilsMessengerEXT(i->handle, i->messenger, NULL);
		vkx_count(i->ledger, K_MESSENGER, -1);
	}
	if (i->DestroyInstance) {
		i->DestroyInstance(i->handle, NULL);
		vkx_count(i->ledger, K_INSTANCE, -1);
	}
	free(i);
}

Result vkx_physical(vkx_instance *i, uint32_t *count, PhysicalDevice *out) {
	return CALL(FAULT_MEMORY, i, EnumeratePhysicalDevices, i->handle, count, out);
}
