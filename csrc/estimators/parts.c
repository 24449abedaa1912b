/* parts.c - what an estimator trains: the energy, and what it asks for beside it. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "estimators/trainer.h"

static const ebm_option update_rows[] = {EBM_UPDATE_OPTIONS(EBM_OPTION_ROW, ebm_update_options)};
const ebm_options ebm_update_table = EBM_OPTIONS_OF("training", update_rows, ebm_update_options);

/* ---- updates ----------------------------------------------------------------------------- */

/* Copies what an update points at. */
static ebm_status copy_update(ebm_parts *parts, int32_t k, const ebm_update *from)
{
    ebm_update *to = &parts->part[k].update;
    *to = *from;
    EBM_TRY(ebm_options_check(&ebm_update_table, &from->options));
    if (from->optimizer_options)
        EBM_TRY(ebm_options_check(&from->optimizer->options, from->optimizer_options));
    if (from->schedule && from->schedule_options)
        EBM_TRY(ebm_options_check(&from->schedule->options, from->schedule_options));
    EBM_TRY(ebm_options_copy(&parts->optimizer_options[k], &from->optimizer->options,
                             from->optimizer_options));
    to->optimizer_options = parts->optimizer_options[k];
    if (!to->schedule) to->schedule = ebm_schedule_find("constant");
    EBM_TRY(ebm_options_copy(&parts->schedule_options[k], &to->schedule->options,
                             from->schedule ? from->schedule_options : NULL));
    to->schedule_options = parts->schedule_options[k];
    return EBM_OK;
}

static ebm_status copy_network(ebm_parts *parts, int32_t k, const ebm_network *network)
{
    return ebm_network_new(&parts->network[k], ebm_network_get_kind(network),
                           ebm_network_options(network));
}

static void name_part(ebm_part *part, const char *name, bool first)
{
    const char *own = first ? "" : name, *dot = first ? "" : ".", *bar = first ? "" : "_";
    part->name = name;
    snprintf(part->prefix, EBM_NAME_SIZE, "%s%s%s", first ? "params" : "parts", dot, own);
    snprintf(part->rate_name, EBM_NAME_SIZE, "rate%s%s", dot, own);
    snprintf(part->norm_metric, EBM_NAME_SIZE, "%s%sgrad_norm", own, bar);
    snprintf(part->rate_metric, EBM_NAME_SIZE, "%s%slearning_rate", own, bar);
}

/* ---- one after the other ----------------------------------------------------------------- */

static ebm_status add_energy(ebm_parts *parts, const ebm_trainer_spec *spec)
{
    const ebm_estimator_kind *kind = spec->estimator;
    ebm_part *part = &parts->part[parts->n++];
    name_part(part, "energy", true);
    EBM_CHECK(spec->network || spec->energy);
    if (spec->network) EBM_TRY(copy_network(parts, EBM_PART_ENERGY, spec->network));
    part->energy = spec->network ? ebm_network_energy(parts->network[EBM_PART_ENERGY])
                                 : *spec->energy;
    EBM_TRY(copy_update(parts, EBM_PART_ENERGY, &spec->update));
    EBM_TRY(ebm_energy_require_rows(&part->energy, kind->options.owner));
    if (kind->likelihood && !part->energy.normalized)
        return ebm_fail(EBM_VALUE,
                        "%s: network: got %s, whose density is not normalised, expected a "
                        "tractable one (log Z = 0)",
                        kind->options.owner, part->energy.name);
    EBM_TRY(ebm_energy_list(&part->energy, &spec->row, spec->dtype, &part->params));
    if (part->params.n > 0) return EBM_OK;
    return ebm_fail(EBM_VALUE, "%s: energy: got one without parameters, expected some to fit",
                    kind->options.owner);
}

static const ebm_part_spec *find_spec(const ebm_trainer_spec *spec, const char *name)
{
    for (int32_t k = 0; k < spec->n_parts; k++)
        if (strcmp(spec->part[k].name, name) == 0) return &spec->part[k];
    ebm_fail(EBM_VALUE, "%s: %s: got none, expected one", spec->estimator->options.owner, name);
    return NULL;
}

static ebm_status find_generator(ebm_parts *parts, int32_t k, const ebm_part_spec *own,
                                 const ebm_shape *row, const char *owner)
{
    ebm_generator *generator = &parts->part[k].generator;
    if (own->network) {
        EBM_TRY(copy_network(parts, k, own->network));
        return ebm_network_generator(parts->network[k], row, generator);
    }
    if (!own->generator) return ebm_fail(EBM_VALUE, "%s: generator: got no network", owner);
    if (!own->generator->build)
        return ebm_fail(EBM_VALUE, "%s: got an energy, expected a generator",
                        own->generator->name);
    *generator = *own->generator;
    generator->row = *row;
    return EBM_OK;
}

static ebm_status add_generator(ebm_parts *parts, const ebm_trainer_spec *spec)
{
    const char *name = "generator", *owner = spec->estimator->options.owner;
    const ebm_part_spec *own = find_spec(spec, name);
    if (!own) return EBM_VALUE;
    int32_t k = parts->n++;
    ebm_part *part = &parts->part[k];
    name_part(part, name, false);
    EBM_TRY(find_generator(parts, k, own, &spec->row, owner));
    EBM_TRY(copy_update(parts, k, &own->update));
    if (!part->generator.noisy && spec->entropy.kind && spec->entropy.kind->score)
        return ebm_fail(
            EBM_VALUE,
            "%s: generator: got %s, which adds no noise, expected one whose density "
            "has a score",
            owner, part->generator.name);
    return ebm_generator_list(&part->generator, spec->dtype, &part->params);
}

/* The part that the entropy trains for itself, if there is one. */
static ebm_status add_entropy(ebm_parts *parts, const ebm_trainer_spec *spec)
{
    const ebm_entropy_kind *kind = spec->entropy.kind;
    if (!kind || !kind->part) return EBM_OK;
    const ebm_generator *generator = &parts->part[EBM_PART_GENERATOR].generator;
    const ebm_part_spec *own = find_spec(spec, kind->part);
    if (!own) return EBM_VALUE;
    int32_t k = parts->n++;
    ebm_part *part = &parts->part[k];
    name_part(part, kind->part, false);
    EBM_TRY(copy_update(parts, k, &own->update));
    part->params.dtype = spec->dtype;
    if (!kind->critic) return kind->list(spec->entropy.options, generator, &part->params);
    if (!own->network)
        return ebm_fail(EBM_VALUE, "%s: %s: got no network", kind->options.owner, kind->part);
    EBM_TRY(copy_network(parts, k, own->network));
    part->energy = ebm_network_energy(parts->network[k]);
    EBM_TRY(ebm_energy_require_rows(&part->energy, kind->part));
    ebm_shape row = ebm_entropy_critic_row(generator);
    return ebm_energy_list(&part->energy, &row, spec->dtype, &part->params);
}

/* Trap: a network that is no energy, or no generator, must say so before its graph is built. */
static ebm_status add_all(ebm_parts *parts, const ebm_trainer_spec *spec)
{
    EBM_TRY(add_energy(parts, spec));
    if (!spec->estimator->generates) return EBM_OK;
    EBM_TRY(add_generator(parts, spec));
    return add_entropy(parts, spec);
}

ebm_status ebm_parts_new(ebm_parts **out, const ebm_trainer_spec *spec)
{
    ebm_parts *parts = ebm__alloc(1, sizeof *parts);
    if (!parts) return EBM_NOMEM;
    ebm_status status = add_all(parts, spec);
    if (status == EBM_OK)
        *out = parts;
    else
        ebm_parts_free(parts);
    return status;
}

void ebm_parts_free(ebm_parts *parts)
{
    if (!parts) return;
    for (int32_t k = 0; k < parts->n; k++) {
        ebm_params_fini(&parts->part[k].params);
        ebm_network_free(parts->network[k]);
        ebm__free(parts->optimizer_options[k]);
        ebm__free(parts->schedule_options[k]);
    }
    ebm__free(parts);
}
