// What is drawn: regions, guides and phrases, each kind in a list of the plan.

class MixdiffLayers {
    static TITLES = {regions: "Region", guides: "Guide", phrases: "Phrase"};        // in the order in which they are shown

    // The list of a plan, empty where there is none; `make` puts it there.
    static list(plan, name, make) {
        const home = name === "phrases" ? plan.paint || (make ? plan.paint = {} : {}) : plan;
        return home[name] || (make ? home[name] = [] : []);
    }

    // All of a plan: which list, which place in it, what it holds.
    static all(plan) {
        return Object.keys(MixdiffLayers.TITLES).flatMap((list) => MixdiffLayers.list(plan, list).map((item, index) => ({list, index, item})));
    }

    static title({list, index}) {
        return `${MixdiffLayers.TITLES[list]} ${index + 1}`;
    }

    // Where its mask is, there a phrase is: nothing else says where.
    static hasBox({list}) {
        return list !== "phrases";
    }

    // Without what holds nothing.
    static tidy(plan) {
        if (plan.paint?.phrases && !plan.paint.phrases.length) delete plan.paint.phrases;
        if (plan.paint && !Object.keys(plan.paint).length) delete plan.paint;
        for (const model of MixdiffAmdm.models(plan)) if (model.plan && !Object.keys(model.plan).length) delete model.plan;
    }
}
